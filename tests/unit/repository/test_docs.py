"""What the READMEs say is so."""

import re
import tomllib
from pathlib import Path

import pytest

from appliance import settings
from appliance.run import run
from appliance.settings import REPOSITORY

READMES = [
    REPOSITORY / file
    for file in run(["git", "ls-files", "--cached", "--others", "--exclude-standard", "*README.md"], cwd=REPOSITORY).split()
]


def relative(file: Path) -> str:
    return str(file.relative_to(REPOSITORY))


def targets() -> set[str]:
    return set(re.findall(r"^([a-z][a-z-]*):", (REPOSITORY / "Makefile").read_text(), re.MULTILINE))


@pytest.mark.linter
def test_make_help_tells_every_target_and_is_what_make_does_alone() -> None:
    said = run(["make", "--no-print-directory", "help"], cwd=REPOSITORY)
    told = set(re.findall(r"^  ([a-z-]+) {2,}\S", said, re.MULTILINE))
    assert told == targets()
    assert run(["make", "--no-print-directory"], cwd=REPOSITORY) == said


def test_every_target_that_a_readme_names_exists() -> None:
    for readme in READMES:
        named = set(re.findall(r"(?:`|^    )make ([a-z][a-z-]*)", readme.read_text(), re.MULTILINE))
        assert named <= targets(), relative(readme)


def test_the_table_of_settings_is_complete_and_true() -> None:
    rows = {
        name: (default, help)
        for name, default, help in re.findall(r"^\| `DPE_(\w+)` \| (.*?) \| (.*) \|$", (REPOSITORY / "appliance/README.md").read_text(), re.MULTILINE)
    }  # fmt: skip
    described = {name.upper(): (default, help) for name, default, help, *_ in settings.describe()}
    assert rows.keys() == described.keys()
    for name, (default, help) in described.items():
        assert rows[name][1] == help, name
        if name == "PARALLEL":  # differs from host to host
            continue
        assert rows[name][0].strip("`") == default, name


@pytest.mark.parametrize("readme", READMES, ids=relative)
def test_every_file_and_folder_that_a_table_names_exists(readme: Path) -> None:
    ours = re.sub(r"^\| in it \|.*\n(\|.*\n)+", "", readme.read_text(), flags=re.MULTILINE)  # what lies in the state directory
    for cell in re.findall(r"^\| (.*?) \|", ours, re.MULTILINE):
        for name in re.findall(r"`([\w./-]+(?:/|\.(?:py|yml|sh|md|lock|toml)))`", cell):
            assert (readme.parent / name).exists() or (REPOSITORY / name).exists(), f"{name} in {relative(readme)}"


@pytest.mark.parametrize("readme", READMES, ids=relative)
def test_every_link_leads_somewhere(readme: Path) -> None:
    for target in re.findall(r"\]\(([^)#:]+)\)", readme.read_text()):
        assert (readme.parent / target).exists(), f"{target} in {relative(readme)}"


@pytest.mark.fresh
def test_set_up_asks_for_what_the_readme_says_is_needed() -> None:
    readme, setup = ((REPOSITORY / name).read_text() for name in ("README.md", "image-build/setup.sh"))
    for what in ("memory", "disk"):
        needed = re.search(rf"^\| {what} \| (\d+) GiB", readme, re.MULTILINE)
        asked = re.search(rf"^needs_{what}=(\d+)$", setup, re.MULTILINE)
        assert needed
        assert asked
        assert int(asked[1]) == int(needed[1]) * 1024


def test_every_room_has_a_readme_and_the_house_names_it() -> None:
    house = (REPOSITORY / "README.md").read_text()
    for folder in ("appliance", "webui", "playbooks", "image-build", "tests"):
        assert (REPOSITORY / folder / "README.md").is_file(), folder
        assert f"`{folder}/`" in house
    rooms = (REPOSITORY / "appliance/README.md").read_text()
    for room in sorted((REPOSITORY / "appliance").glob("*/__init__.py")):
        assert (room.parent / "README.md").is_file(), room.parent.name
        assert f"`{room.parent.name}/`" in rooms


@pytest.mark.parametrize("lock", ["requirements.lock", "requirements-dev.lock", "requirements-build.lock"])
def test_every_python_package_is_locked_with_its_hash(lock: str) -> None:
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())
    wanted = {
        "requirements.lock": project["project"]["dependencies"],
        "requirements-dev.lock": project["project"]["dependencies"] + project["project"]["optional-dependencies"]["dev"],
        "requirements-build.lock": project["build-system"]["requires"],
    }[lock]
    text = (REPOSITORY / lock).read_text()
    pinned = set(re.findall(r"^([\w.-]+)==", text, re.MULTILINE))
    hashed = set(re.findall(r"^([\w.-]+)==[^\n]*\\\n    --hash=sha256:", text, re.MULTILINE))
    assert {re.split(r"[<>=\[; ]", requirement)[0].lower() for requirement in wanted} <= pinned
    assert pinned == hashed
