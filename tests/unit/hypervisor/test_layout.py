"""Names, and where what they name lies: only the libvirt provider's layout knows both, and the protocol speaks of names alone."""

import ast
import inspect
import os
import socket
import stat
from pathlib import Path

import pytest

from appliance import layout as state_layout
from appliance.errors import BadInput
from appliance.hypervisor import provider as protocol
from appliance.hypervisor.libvirt.layout import Boot, Layout
from appliance.hypervisor.libvirt.network import Network
from appliance.lifecycle import specs
from appliance.settings import REPOSITORY, Settings

FILES = {  # what are files wherever an admin wants them, and the socket of a process that runs beside the engine
    ("Provider", "backup_data", "target"),
    ("Provider", "restore_data", "backup"),
    ("Provider", "remove_backup", "backup"),
    ("Service", "socket"),
}


@pytest.fixture
def layout(settings: Settings) -> Layout:
    return Layout(settings)


def test_the_protocol_speaks_of_no_path_but_those_of_copies() -> None:
    found = set()
    for kind in ast.parse(inspect.getsource(protocol)).body:
        for part in kind.body if isinstance(kind, ast.ClassDef) else ():
            if isinstance(part, ast.AnnAssign) and "Path" in ast.unparse(part.annotation):
                found.add((kind.name, ast.unparse(part.target)))
            if isinstance(part, ast.FunctionDef):
                hints = [(given.arg, given.annotation) for given in ast.walk(part.args) if isinstance(given, ast.arg)]
                for name, hint in [*hints, ("return", part.returns)]:
                    if hint is not None and "Path" in ast.unparse(hint):
                        found.add((kind.name, part.name, name))
    assert found == FILES


def test_only_the_layout_makes_paths_of_names() -> None:
    """Whoever of the provider asks the settings for a folder of theirs would know a second time where something lies."""
    folder = REPOSITORY / "appliance/hypervisor/libvirt"
    places = {"seeds", "data_disk", "kept_disk", "kept"}
    found = {
        (file.name, node.attr)
        for file in folder.glob("*.py")
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.Attribute) and ast.unparse(node.value).endswith("settings") and node.attr in places
    }
    assert {name for name, _ in found} == {"layout.py"}


def test_a_seed_is_a_folder_with_what_boots_it(layout: Layout, settings: Settings) -> None:
    folder = settings.seeds / "small/3"
    assert layout.seed("small/3") == folder
    assert layout.seed_disk("small/3") == folder / "disk.qcow2"
    assert layout.seed_boot("small/3", "quiet") == Boot(folder / "vmlinuz", folder / "initrd", "quiet")


def test_a_snapshot_lies_beside_its_seed_and_is_made_elsewhere(layout: Layout, settings: Settings) -> None:
    assert layout.snapshot("small/3/snapshot-7") == settings.seeds / "small/3/snapshot-7"
    assert layout.snapshot_work("small/3/snapshot-7") == settings.state / "work/snapshot-7"


@pytest.mark.badinput
@pytest.mark.parametrize("name", ["", "small", "small/3/4", "../3", "small/..", "/etc/passwd", "small/", "small//", "small/3\n"])
def test_what_names_no_seed_is_refused(layout: Layout, name: str) -> None:
    for verb in (layout.seed, layout.seed_disk, lambda name: layout.seed_boot(name, "")):
        with pytest.raises(BadInput):
            verb(name)


@pytest.mark.badinput
@pytest.mark.parametrize(
    "name", ["", "small/3", "small/3/disk.qcow2", "small/3/..", "../../snapshot-1", "small/../snapshot-1", "a/b/c/snapshot-1"]
)
def test_what_names_no_snapshot_is_refused(layout: Layout, name: str) -> None:
    for verb in (layout.snapshot, layout.snapshot_work):
        with pytest.raises(BadInput):
            verb(name)


@pytest.mark.parametrize(
    ("disk", "name"),
    [
        ("small/3/disk.qcow2", "small/3"),
        ("small/3/snapshot-7/disk.qcow2", "small/3/snapshot-7"),
        ("small/3/else/disk.qcow2", ""),
        ("small/3/vmlinuz", ""),
        ("small/disk.qcow2", ""),
        ("../small/3/disk.qcow2", ""),
        ("", ""),
    ],
)
def test_a_disk_tells_the_name_of_what_it_is_of(layout: Layout, settings: Settings, disk: str, name: str) -> None:
    assert layout.base(f"{settings.seeds}/{disk}") == name
    assert layout.base(f"/elsewhere/{disk}") == ""


def test_a_disk_is_known_by_the_path_without_links_too(settings: Settings, tmp_path: Path) -> None:
    (tmp_path / "real/small/3").mkdir(parents=True)
    settings.seeds.rmdir()
    settings.seeds.symlink_to(tmp_path / "real")
    assert Layout(settings).base(str(tmp_path / "real/small/3/disk.qcow2")) == "small/3"


def test_a_machine_is_a_folder_of_its_id(layout: Layout, settings: Settings) -> None:
    folder = settings.machines / "0a1b"
    assert (layout.machine("0a1b"), layout.disk("0a1b"), layout.serial_log("0a1b")) == (
        folder,
        folder / "disk.qcow2",
        folder / "serial.log",
    )
    assert layout.data_disk("0a1b") == settings.data / "0a1b.qcow2"
    assert layout.kept_disk("0a1b") == settings.kept / "0a1b.qcow2"


def test_a_card_s_end_on_the_host_is_called_as_ever_and_no_two_alike(settings: Settings) -> None:
    """Machines that run, and those that were saved, go on with the name that they were made with."""
    network, cards = Network(settings), [specs.card(settings, slot) for slot in range(settings.slots)]
    assert [network.tap(card) for card in cards] == [f"{settings.network}-m{slot}" for slot in range(settings.slots)]
    assert [specs.slot_of(card.mac, settings) for card in cards] == list(range(settings.slots))
    assert {specs.slot_of(mac, settings) for mac in ("", "52:54:00:00:00:01", specs.card(settings, settings.slots).mac)} == {None}


@pytest.mark.console
def test_sockets_in_a_shared_folder_are_the_groups_whoever_makes_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """QEMU makes some and libvirtd others; the process that connects to both is neither."""
    group = 12345 if os.geteuid() == 0 else os.getegid()
    monkeypatch.setattr(state_layout, "_group", lambda: group)
    for _ in range(2):
        state_layout.share_folder(tmp_path / "vnc", os.geteuid())
    assert stat.S_IMODE((tmp_path / "vnc").stat().st_mode) == 0o2710
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(os.fspath(tmp_path / "vnc/one"))
        assert (tmp_path / "vnc/one").stat().st_gid == group
