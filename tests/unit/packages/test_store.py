"""The index of a release: what is found first, what a package brings, names that there are not, and files that are no index."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance.errors import Unavailable
from appliance.packages import Index, sources, store
from tests import packages


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Index]:
    found = Index(packages.write(tmp_path_factory.mktemp("packages")))
    yield found
    found.close()


def names(index: Index, text: str, limit: int = 20) -> list[str]:
    return [one.name for one in index.search(text, limit).packages]


def test_a_control_file_is_read_field_by_field_with_their_further_lines() -> None:
    lines = b"Package: a\nDescription: short\n one\n .\n  two\nX-Other: no\n more\n\n\nPackage: b\nSize: 5\n".splitlines(keepends=True)
    assert list(store.stanzas(lines)) == [{"Package": "a", "Description": "short\none\n.\n two"}, {"Package": "b", "Size": "5"}]


def test_what_is_called_so_comes_first_then_what_begins_so_then_by_words_of_name_summary_and_description(index: Index) -> None:
    assert names(index, "postgresql") == ["postgresql", "postgresql-17", "postgresql-common", "postgresql-client-17", "libpq5"]
    assert names(index, "Client") == ["postgresql-client-17", "libpq5"], "a word of the name, then of the summary"
    assert names(index, "gres")[:2] == ["postgresql", "postgresql-17"], "anywhere in the name"
    assert names(index, "sqlite") == ["adminer"], "only the description has it"
    assert names(index, "database web") == ["adminer"], "all words, wherever they are"
    assert names(index, "g++") == ["g++"]
    assert names(index, "git") == ["git", "git-man"], "what is looked for by people comes before manuals and libraries"


def test_no_more_are_shown_than_asked_for_and_all_are_counted(index: Index) -> None:
    found = index.search("postgresql", 2)
    assert ([one.name for one in found.packages], found.total) == (["postgresql", "postgresql-17"], 5)
    assert index.search("nothing at all like it").total == 0


@pytest.mark.hostile
@pytest.mark.parametrize(
    "text", ["", "  ", '"', 'a" OR b', "name : x", "NEAR(a b)", "*", "-", "^git", "\0", "'; DROP TABLE package", "ü" * 90, "\U0010ffff"]
)
def test_whatever_is_typed_is_words_to_look_for(index: Index, text: str) -> None:
    assert index.search(text).total >= 0
    assert index.near(text) is not None
    assert index.count == len(list(packages.stanzas()))


def test_a_package_says_what_it_is(index: Index) -> None:
    found = index.package("postgresql")
    assert found is not None
    assert (found.version, found.section, found.size, found.installed, found.base) == ("17+278", "database", 14 << 10, 80 << 10, False)
    assert index.description("postgresql").split("\n")[1:3] == ["", "It is a fully featured"]
    assert index.package("postgresql:amd64") == found
    assert index.package("nosuch") is None


def test_what_every_seed_has_is_known(index: Index) -> None:
    base = {name for name in (one["Package"] for one in packages.stanzas()) if (found := index.package(name)) and found.base}
    assert base == {"bash", "libc6", "mawk", "apt", "gpgv", "debconf", *sources.BASE_PACKAGES}


def test_what_a_package_brings_is_itself_and_what_it_needs_and_no_seed_has(index: Index) -> None:
    brought = index.bring(["postgresql"])
    assert brought.packages == ("libpq5", "locales", "perl", "postgresql", "postgresql-17", "postgresql-client-17", "postgresql-common")
    assert brought.size == (14 + 16000 + 1900 + 110 + 220 + 3900 + 600) << 10
    assert index.bring(["postgresql", "git"]).installed < brought.installed + index.bring(["git"]).installed, "what both need comes once"
    assert index.bring(["bash"]).packages == ()


def test_what_is_provided_by_several_is_taken_from_the_more_important_and_what_nothing_meets_is_said(index: Index) -> None:
    brought = index.bring(["mailutils"])
    assert (brought.packages, brought.missing) == (("exim4-daemon-light", "mailutils"), ("no-such-thing",))
    assert "exim4-daemon-light" not in index.bring(["postfix", "mailutils"]).packages
    assert index.providers("mail-transport-agent") == ["exim4-daemon-light", "postfix"]


@pytest.mark.badinput
@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("postgrseql", "postgresql"),
        ("postgres-17", "postgresql-17"),
        ("libpg5", "libpq5"),
        ("exim4", "exim4-daemon-light"),
        ("common", "postgresql-common"),
        ("zzzz", None),
    ],
)
def test_what_is_called_nearly_so_is_offered(index: Index, name: str, near: str | None) -> None:
    found = index.near(name)
    assert (found[0] if near else found) == (near or [])


def test_a_name_can_be_installed_when_it_is_a_package_or_one_alone_provides_it(index: Index) -> None:
    assert index.installs("git")
    assert index.installs("git:amd64")
    assert index.installs("postgresql-contrib-17")
    assert not index.installs("mail-transport-agent")
    assert not index.installs("nosuch")


@pytest.mark.lost
@pytest.mark.parametrize("content", [b"", b"no database at all" * 100, None])
def test_a_file_that_is_no_index_cannot_be_used_and_says_what_to_do(tmp_path: Path, content: bytes | None) -> None:
    file = tmp_path / "debian-13.db"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(Unavailable, match="Refresh it on the page Packages"):
        Index(file)


def test_a_mirror_without_packages_is_no_index(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="no packages of this release"):
        store.write(tmp_path / "new.db", [], {}, [], {})
