"""A scenario as files: from a folder, from a zip and into one, and what is refused of what people send."""

import contextlib
import io
import stat
import zipfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from appliance.errors import BadInput
from appliance.scenario import tree
from appliance.scenario.load import ScenarioErrors, load
from appliance.scenario.tree import File, Tree
from appliance.settings import REPOSITORY
from tests.unit.scenario.test_load import GOOD

MAIN = File(GOOD.encode())
TASKS = b"- name: Page\n  ansible.builtin.file: {path: /srv/page, state: directory}\n"
WHOLE: Tree = {"scenario.yml": MAIN, "roles/web/tasks/main.yml": File(TASKS)}


def packed(files: dict[str, bytes | str], **about: int) -> bytes:
    """A zip with these files, as other tools would make one."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as writing:
        for name, content in files.items():
            member = zipfile.ZipInfo(name)
            member.compress_type = zipfile.ZIP_DEFLATED
            for field, value in about.items():
                setattr(member, field, value)
            writing.writestr(member, content)
    return out.getvalue()


names = st.text("abcdefghijäß .-_", min_size=1, max_size=8).filter(lambda name: name not in (".", "..") and name.isprintable())
paths = st.lists(names, min_size=1, max_size=3).map("/".join)
files = st.builds(File, st.binary(max_size=200), st.booleans())


@settings(max_examples=40)
@given(st.dictionaries(paths.map(lambda path: f"roles/{path}"), files, max_size=8))
def test_what_was_exported_and_imported_is_exported_the_same_byte_for_byte(found: dict[str, File]) -> None:
    whole: Tree = {"scenario.yml": MAIN, **found}
    try:
        tree.check_paths(whole)
    except BadInput:
        return
    once = tree.to_zip(whole, "shop")
    again = tree.read_zip(once)
    assert again == whole
    assert tree.to_zip(again, "shop") == once


@pytest.mark.parametrize("top", ["", "shop/"])
def test_a_zip_of_other_tools_is_read_with_or_without_a_folder_around_it(top: str) -> None:
    found = tree.read_zip(
        packed({f"{top}{path}": file.content for path, file in WHOLE.items()} | {f"{top}.git/config": "", f"{top}roles/": ""})
    )
    assert found == WHOLE


@pytest.mark.badinput
@pytest.mark.hostile
@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "cannot be read"),
        (b"PK\x03\x04 and then nothing", "cannot be read"),
        (packed({"../scenario.yml": ""}), "cannot be the name"),
        (packed({"roles/../../etc/passwd": "", "scenario.yml": ""}), "cannot be the name"),
        (packed({"/etc/passwd": ""}), "cannot be the name"),
        (packed({"roles\\web": "", "scenario.yml": ""}), "cannot be the name"),
        (packed({"a\x1bb": ""}), "cannot be the name"),
        (packed({"x" * 300: ""}), "cannot be the name"),
        (packed({"scenario.yml": "/etc/shadow"}, external_attr=(stat.S_IFLNK | 0o777) << 16), "is a link or a device"),
        (packed({"scenario.yml": ""}, external_attr=(stat.S_IFBLK | 0o600) << 16), "is a link or a device"),
        (packed({"readme": ""}), "There is no scenario.yml"),
        (packed({"one/scenario.yml": "", "two/scenario.yml": ""}), "There is no scenario.yml"),
        (packed({"scenario.yml": "", "roles": "", "roles/web": ""}), "is a file and a folder"),
        (packed({str(number): "" for number in range(tree.FILES + 1)}), "more than 2000 files"),
        (packed({str(number): "" for number in range(2 * tree.FILES + 1)}), "more than 2000 files"),
        (packed({"scenario.yml": "", "noughts": bytes(tree.BYTES + 1)}), "larger than 24 MiB"),
        (b"x" * (tree.PACKED + 1), "larger than 28 MiB"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_zip_that_leads_elsewhere_or_explodes_is_refused(content: bytes, said: str) -> None:
    with pytest.raises(BadInput, match=said) as refused:
        tree.read_zip(content)
    assert (refused.value.field, bool(refused.value.hint)) == ("file", True)


@pytest.mark.hostile
def test_a_zip_that_lies_about_the_size_of_a_file_is_refused() -> None:
    """What is read is counted, not what is said."""
    honest = packed({"scenario.yml": "", "noughts": bytes(tree.BYTES + 1)})
    size = (tree.BYTES + 1).to_bytes(4, "little")
    assert honest.count(size) == 2
    with pytest.raises(BadInput):
        tree.read_zip(honest.replace(size, (10).to_bytes(4, "little")))


@pytest.mark.hostile
def test_a_zip_with_the_same_file_twice_is_refused() -> None:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as writing:
        writing.writestr("scenario.yml", "one")
        with pytest.warns(UserWarning, match="Duplicate"):
            writing.writestr("scenario.yml", "two")
    with pytest.raises(BadInput, match="twice"):
        tree.read_zip(out.getvalue())


def test_a_folder_is_read_with_what_its_links_lead_to_and_written_as_it_was(tmp_path: Path) -> None:
    small = REPOSITORY / "tests/scenarios/small"
    (tmp_path / "shop/roles").mkdir(parents=True)
    (tmp_path / "shop/roles/web").symlink_to(small / "roles/web")
    (tmp_path / "shop/scenario.yml").write_text(GOOD)
    (tmp_path / "shop/.git").mkdir()
    (tmp_path / "shop/.git/config").touch()
    found = tree.read_folder(tmp_path / "shop")
    assert sorted(found) == sorted(["scenario.yml", *(f"roles/{path}" for path in tree.read_folder(small / "roles"))])
    (tmp_path / "laid").mkdir()
    tree.write(found, tmp_path / "laid")
    assert tree.read_folder(tmp_path / "laid") == found


@pytest.mark.hostile
def test_a_folder_with_a_link_to_itself_is_refused(tmp_path: Path) -> None:
    (tmp_path / "again").symlink_to(tmp_path)
    with pytest.raises((BadInput, OSError)):
        tree.read_folder(tmp_path)


@pytest.mark.badinput
def test_what_is_wrong_is_told_with_file_and_line_as_the_zip_has_them() -> None:
    broken: Tree = {**WHOLE, "scenario.yml": File(GOOD.replace("os: debian-13", "os: debian-99").encode())}
    broken = {**broken, "roles/web/tasks/main.yml": File(b"- name: x\n  command: [unclosed\n")}
    with pytest.raises(ScenarioErrors) as refused:
        tree.check(broken)
    lines = GOOD.replace("os: debian-13", "os: debian-99").splitlines()
    told = [(str(one.file), one.line) for one in refused.value.errors]
    assert ("scenario.yml", 1 + next(at for at, line in enumerate(lines) if "debian-99" in line)) in told
    assert any(file == "roles/web/tasks/main.yml" for file, _ in told)
    missing: Tree = {"scenario.yml": MAIN}
    with pytest.raises(ScenarioErrors) as refused:
        tree.check(missing)
    assert "make roles/web/tasks/main.yml" in str(refused.value), "and no folder of ours is named"


@pytest.mark.hostile
@pytest.mark.parametrize(
    "tasks",
    [
        "- &a {name: x, block: [" + "*a, " * 3 + "]}\n",
        "\n".join(["- &a0 {debug: {}}", *(f"- &a{n} {{block: [{', '.join([f'*a{n - 1}'] * 9)}]}}" for n in range(1, 30))]),
        "- " + "[" * 5000,
        "- import_tasks: ../../../../../../../../etc/passwd\n",
        "- import_tasks: /etc/shadow\n",
        f"- import_tasks: {'x' * 5000}.yml\n",
        '- import_tasks: "a\\0b.yml"\n',
    ],
    ids=["itself", "aliases", "deep", "elsewhere", "absolute", "long", "nought"],
)
def test_a_role_that_explodes_or_reads_elsewhere_is_looked_through_in_no_time(tasks: str, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[Path] = []
    before = Path.read_bytes
    monkeypatch.setattr(Path, "read_bytes", lambda path: (read.append(path), before(path))[1])
    with contextlib.suppress(ScenarioErrors):
        tree.check({**WHOLE, "roles/web/tasks/main.yml": File(tasks.encode())})
    assert not [path for path in read if path.is_relative_to("/etc")]


@pytest.mark.hostile
def test_aliases_in_scenario_yml_and_too_much_of_it_are_refused() -> None:
    bomb = "a: &a [x, x]\n" + "".join(f"{chr(98 + n)}: &{chr(98 + n)} [*{chr(97 + n)}, *{chr(97 + n)}]\n" for n in range(20))
    for text, said in ((bomb, "alias"), (GOOD + "#" * tree.MAIN_BYTES, "larger than 96 KiB")):
        with pytest.raises(ScenarioErrors, match=said):
            tree.check({**WHOLE, "scenario.yml": File(text.encode())})
    with pytest.raises(ScenarioErrors, match="all YAML together"):
        tree.check({**WHOLE, "roles/web/vars/main.yml": File(b"#" * (tree.YAML_BYTES + 1))})


def test_the_digest_is_of_names_contents_and_whether_they_can_be_run() -> None:
    one = tree.digest(tree.listing(WHOLE))
    others = [
        {**WHOLE, "scenario.yml": File(b"")},
        {**WHOLE, "scenario.yml": File(MAIN.content, executable=True)},
        {"scenario.yml": MAIN, "roles/web/tasks/other.yml": File(TASKS)},
    ]
    assert len({one, *(tree.digest(tree.listing(other)) for other in others)}) == 4
    assert tree.digest(tree.listing(dict(reversed(WHOLE.items())))) == one


def test_a_checked_scenario_is_called_as_it_likes_but_its_folder_is_called_like_it(tmp_path: Path) -> None:
    assert tree.check(WHOLE).name == "shop"
    (tmp_path / "other").mkdir()
    tree.write(WHOLE, tmp_path / "other")
    with pytest.raises(ScenarioErrors, match="the folder is other"):
        load(tmp_path / "other")
    assert (tmp_path / "other/scenario.yml").stat().st_mode & 0o777 == 0o644
