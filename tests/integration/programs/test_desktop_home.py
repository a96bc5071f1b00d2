"""Where a desktop's owner keeps things: the hook that has folders and profiles on the data disk."""

import subprocess
from pathlib import Path

import jinja2
import pytest

from appliance.settings import REPOSITORY

HOOK = REPOSITORY / "playbooks/applications/desktop/templates/home"
LINKS = [
    "Desktop",
    "Documents",
    "Downloads",
    "Music",
    "Pictures",
    "Public",
    "Templates",
    "Videos",
    ".mozilla",
    ".config/mozilla",
    ".config/libreoffice",
]


@pytest.fixture
def hook(tmp_path: Path) -> list[str | Path]:
    """The hook over a home of root's, who is there on every host, as the session of a snapshot left it; data is the disk."""
    (tmp_path / "data").mkdir()
    home = tmp_path / "home/root"
    for name in LINKS[:-3]:
        (home / name).mkdir(parents=True)
    script = jinja2.Environment(autoescape=False).from_string(HOOK.read_text()).render(spec={"user": "root"})
    (tmp_path / "hook").write_text(script.replace("/home/", f"{tmp_path}/home/"))
    return ["sh", tmp_path / "hook", tmp_path / "data"]


def run(hook: list[str | Path]) -> None:
    done = subprocess.run(hook, capture_output=True, text=True, timeout=20, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_folders_and_profiles_are_links_to_the_disk_however_often(hook: list[str | Path], tmp_path: Path) -> None:
    home, disk = tmp_path / "home/root", tmp_path / "data/home"
    (home / "Music/mine.ogg").touch()
    run(hook)
    (home / "Documents/letter.odt").write_text("Dear Ada")
    run(hook)  # as at the next boot
    assert {name: (home / name).readlink() for name in LINKS if name != "Music"} == {name: disk / name for name in LINKS if name != "Music"}
    assert (disk / "Documents/letter.odt").read_text() == "Dear Ada"
    assert (home / "Music/mine.ogg").exists()  # what is not empty stays
    assert not [one for one in disk.rglob("*") if one.is_symlink()]


@pytest.mark.hostile
def test_a_link_on_the_disk_leads_root_nowhere(hook: list[str | Path], tmp_path: Path) -> None:
    (tmp_path / "data/home").symlink_to(tmp_path / "nothing")
    done = subprocess.run(hook, capture_output=True, text=True, timeout=20, check=False)
    assert done.returncode != 0
    assert not (tmp_path / "nothing").exists()
