"""A folder made the same as another one, whatever was there and whenever it was cut off."""

import os
import socket
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from appliance.errors import DpeError
from appliance.host.disks import mirror

SKIP = frozenset({"host", "run"})
LONG_AGO = 1_700_000_000


def files(folder: Path) -> dict[str, tuple[bytes | str | None, int]]:
    """Everything below: its content, or where it leads, and its mode."""
    return {
        str(path.relative_to(folder)): (
            str(path.readlink()) if path.is_symlink() else path.read_bytes() if path.is_file() else None,
            path.lstat().st_mode,
        )
        for path in folder.rglob("*")
    }


@pytest.fixture
def pair(tmp_path: Path) -> tuple[Path, Path]:
    source, target = tmp_path / "from", tmp_path / "to"
    (source / "machines/one").mkdir(parents=True)
    (source / "machines/one/disk").write_bytes(b"begin" + bytes(8 << 20) + b"end")
    (source / "machines/one/disk").chmod(0o600)
    (source / "catalog").mkdir(mode=0o770)
    (source / "catalog/catalog.db").write_bytes(b"rows")
    (source / "link").symlink_to("catalog/catalog.db")
    (source / "host").mkdir()
    (source / "host/host.json").write_text("{}")
    for path in source.rglob("*"):
        os.utime(path, (LONG_AGO, LONG_AGO), follow_symlinks=False)
    target.mkdir()
    return source, target


def same(source: Path, target: Path) -> None:
    wanted = {name: value for name, value in files(source).items() if name.split("/")[0] not in SKIP}
    there = {name: value for name, value in files(target).items() if name.split("/")[0] not in SKIP}
    assert there == wanted


def test_it_is_the_same_with_holes_modes_and_times(pair: tuple[Path, Path]) -> None:
    source, target = pair
    mirror.mirror(source, target, skip=SKIP)
    same(source, target)
    assert not (target / "host").exists()
    disk = target / "machines/one/disk"
    assert disk.stat().st_mtime == LONG_AGO
    assert disk.stat().st_blocks * 512 < 3 << 20
    assert mirror.size(target) < 4 << 20


def test_only_what_changed_is_copied_again_and_what_went_goes(pair: tuple[Path, Path]) -> None:
    source, target = pair
    mirror.mirror(source, target, skip=SKIP)
    (target / "host").mkdir()
    (source / "catalog/catalog.db").write_bytes(b"rowz")  # as long as before
    (source / "machines/one").rename(source / "machines/two")
    (source / "new").write_bytes(b"12345")
    copied: list[int] = []
    mirror.mirror(source, target, skip=SKIP, tell=copied.append)
    same(source, target)
    assert sum(copied) == 4 + 5 + 8 + (8 << 20)
    assert (target / "host").is_dir()
    copied.clear()
    mirror.mirror(source, target, skip=SKIP, tell=copied.append)
    assert sum(copied) == 4 + 5  # written just now, so that nobody can tell by their times whether they will be again


def test_a_write_within_a_tick_of_the_clock_is_seen(pair: tuple[Path, Path]) -> None:
    source, target = pair
    file = source / "catalog/catalog.db"
    file.write_bytes(b"one")
    before = file.stat()
    mirror.mirror(source, target, skip=SKIP)
    file.write_bytes(b"two")
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    mirror.mirror(source, target, skip=SKIP)
    assert (target / "catalog/catalog.db").read_bytes() == b"two"


@pytest.mark.crash
def test_cut_off_anywhere_it_is_made_whole_by_the_next_one(pair: tuple[Path, Path]) -> None:
    source, target = pair

    class Cut(BaseException):
        pass

    for pieces in range(1, 12):
        left = pieces

        def tell(_: int) -> None:
            nonlocal left
            left -= 1
            if left <= 0:
                raise Cut

        with pytest.raises(Cut):
            mirror.mirror(source, target, skip=SKIP, tell=tell)
            raise Cut
    mirror.mirror(source, target, skip=SKIP)
    same(source, target)


def test_other_kinds_in_the_way_are_replaced(pair: tuple[Path, Path]) -> None:
    source, target = pair
    (target / "link").mkdir()
    (target / "machines").write_text("a file")
    (target / "catalog").symlink_to("/etc")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(source / "bell"))
        mirror.mirror(source, target, skip=SKIP)
    (source / "bell").unlink()
    same(source, target)
    assert Path("/etc").is_dir()


def test_a_disk_that_does_not_keep_what_is_written_is_found_out(pair: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    source, target = pair
    written = mirror._write

    def forgetful(handle: int, piece: bytes) -> None:
        written(handle, b"E" + piece[1:])

    monkeypatch.setattr(mirror, "_write", forgetful)
    with pytest.raises(DpeError, match="not on the new disk as it was written"):
        mirror.mirror(source, target, skip=SKIP)


@settings(max_examples=40)
@given(
    st.lists(
        st.dictionaries(st.sampled_from(["a", "b", "c/d", "c/e"]), st.binary(max_size=30), max_size=4),
        min_size=2,
        max_size=4,
    )
)
def test_any_succession_of_states_is_followed(tmp_path_factory: pytest.TempPathFactory, states: list[dict[str, bytes]]) -> None:
    source, target = tmp_path_factory.mktemp("from"), tmp_path_factory.mktemp("to")
    for state in states:
        mirror.empty(source)
        for name, content in state.items():
            (source / name).parent.mkdir(exist_ok=True)
            (source / name).write_bytes(content)
        mirror.mirror(source, target, skip=SKIP)
        same(source, target)


def test_what_is_kept_is_not_emptied(tmp_path: Path) -> None:
    for name in ("host", "seeds/small"):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "file").write_text(str(time.time()))
    mirror.empty(tmp_path, SKIP)
    assert [path.name for path in tmp_path.iterdir()] == ["host"]
    assert (tmp_path / "host/file").exists()
    assert mirror.size(tmp_path / "nothing") == 0
