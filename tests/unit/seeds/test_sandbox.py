"""What root does for a sandbox, it does to the sandbox's own and to nothing that a link in it leads to."""

import os
import sys
from pathlib import Path

import pytest

from appliance.seeds.build import taken
from appliance.seeds.sandbox import FIRST, Limits, Sandbox, confined, hand_over

pytestmark = pytest.mark.hostilebuild


def test_a_folder_is_handed_over_and_nothing_that_a_link_leads_to(tmp_path: Path) -> None:
    own, theirs = hand_over(tmp_path / "one/own", 0o700), tmp_path / "theirs"
    assert (own.stat().st_uid, own.stat().st_mode & 0o777, (tmp_path / "one").stat().st_uid) == (FIRST, 0o700, 0)
    theirs.mkdir(mode=0o750)
    (tmp_path / "link").symlink_to(theirs)
    (tmp_path / "file").touch()
    for wrong in ("link", "file"):
        with pytest.raises(OSError, match=wrong):
            hand_over(tmp_path / wrong)
    assert (theirs.stat().st_uid, theirs.stat().st_mode & 0o777) == (0, 0o750)


def test_what_comes_out_is_a_plain_file_of_a_known_size(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("12345")
    (tmp_path / "link").symlink_to(tmp_path / "file")
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    assert taken(tmp_path / "file", 5) == b"12345"
    wrong = (("file", 4), ("link", 9), ("folder", 9), ("pipe", 9), ("nothing", 9))
    assert [taken(tmp_path / name, most) for name, most in wrong] == [None] * len(wrong)


def test_only_what_is_named_is_given(tmp_path: Path) -> None:
    """No folder of the host's is shown whole but /usr, and nothing may be written but what is its own."""
    sandbox = Sandbox(tmp_path / "scratch", reads=[tmp_path / "read"], writes=[tmp_path / "written"], limits=Limits())
    words = confined(["true"], sandbox)
    shown = {words[number + 1] for number, word in enumerate(words) if word in ("--bind", "--dev-bind")}
    assert shown == {str(tmp_path / "scratch"), str(tmp_path / "scratch/tmp"), str(tmp_path / "written"), "/proc"}
    read = {words[number + 1] for number, word in enumerate(words) if word.startswith("--ro-bind")}
    assert not {path for path in read if path in ("/", "/etc", "/var", "/run", "/home", "/root", "/dev", "/sys")}


def test_python_is_there_also_where_a_link_to_it_was_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The programs beside it name the place where they were installed."""
    place, link = tmp_path / "place", tmp_path / ".venv"
    place.mkdir()
    link.symlink_to(place)
    monkeypatch.setattr(sys, "prefix", str(link))
    words = [str(word) for word in confined(["true"], Sandbox(tmp_path / "scratch", limits=Limits()))]
    shown = [words[number + 1 : number + 3] for number, word in enumerate(words) if word == "--ro-bind"]
    assert [str(place), str(link)] in shown
    assert [str(place), str(place)] in shown
