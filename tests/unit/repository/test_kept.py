"""What tests keep for the next ones is whole, is what it is made of, and does not grow for ever."""

import os
from pathlib import Path

import pytest

from tests import kept


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(kept, "CACHE", tmp_path / "cache")
    return tmp_path / "cache"


def make(folder: Path) -> None:
    (folder / "file").write_text("made")


def never(folder: Path) -> None:
    raise AssertionError("it is made again")


def test_it_is_made_once_for_one_hash() -> None:
    first = kept.kept("thing", kept.digest("a"), make)
    assert (first / "file").read_text() == "made"
    assert kept.kept("thing", kept.digest("a"), never) == first
    assert kept.kept("thing", kept.digest("b"), make) != first


def test_what_was_cut_off_while_it_was_made_is_made_again(cache: Path) -> None:
    with pytest.raises(AssertionError):
        kept.kept("thing", kept.digest("a"), never)
    [left] = (cache / "thing").iterdir()
    (left / "half").write_text("")
    assert [file.name for file in kept.kept("thing", kept.digest("a"), make).iterdir()] == ["file"]


def test_the_oldest_are_removed(cache: Path) -> None:
    for number in range(kept.NEWEST + 2):
        folder = kept.kept("thing", kept.digest(str(number)), make)
        os.utime(folder, (number, number))
    kept.kept("thing", kept.digest("0"), make)
    assert len(list((cache / "thing").iterdir())) == kept.NEWEST
    assert kept.kept("thing", kept.digest("0"), never).exists()


def test_a_hash_is_of_names_modes_and_contents(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    seen = {kept.digest(folder)}
    (folder / "one").write_text("1")
    seen.add(kept.digest(folder))
    (folder / "one").chmod(0o755)
    seen.add(kept.digest(folder))
    (folder / "one").rename(folder / "two")
    seen.add(kept.digest(folder))
    seen |= {kept.digest("ab", "c"), kept.digest("a", "bc")}
    assert len(seen) == 6
