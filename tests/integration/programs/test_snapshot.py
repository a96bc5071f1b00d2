"""What is known of a snapshot's files: facts in words, digests that do not see holes, and what is read again."""

from pathlib import Path

from appliance.hypervisor.libvirt import snapshot_files
from appliance.run import run
from tests.unit.hypervisor.test_snapshot import PAGE


def test_a_digest_sees_data_and_its_place_but_not_how_holes_are_kept(folder: Path, tmp_path: Path) -> None:
    memory, copy = folder / snapshot_files.MEMORY, tmp_path / "copy"
    known = snapshot_files.digest(memory)
    run(["cp", "--sparse=never", memory, copy])
    assert copy.stat().st_blocks > memory.stat().st_blocks
    assert snapshot_files.digest(copy) == known
    run(["fallocate", "--dig-holes", copy])
    assert snapshot_files.digest(copy) == known
    content = memory.read_bytes()
    for place in (0, 3 * snapshot_files.CHUNK + PAGE, len(content) - 1, 5 * snapshot_files.CHUNK):  # the last one in a hole
        copy.write_bytes(content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])
        assert snapshot_files.digest(copy) != known, place
    copy.write_bytes(content[:-PAGE] + content[-PAGE:][::-1])
    assert snapshot_files.digest(copy) != known
    chunk = snapshot_files.CHUNK  # the same data elsewhere
    copy.write_bytes(content[chunk : 2 * chunk] + content[:chunk] + content[2 * chunk :])
    assert snapshot_files.digest(copy) != known
    copy.write_bytes(content + bytes(PAGE))
    assert snapshot_files.digest(copy) != known
