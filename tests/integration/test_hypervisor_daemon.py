"""The private libvirtd: what it refuses, what it hides, and that it may be started again and again."""

import json
import os
import signal
import subprocess
import sys
import xml.etree.ElementTree as ET
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from appliance.errors import BadInput, Conflict, Unavailable
from appliance.hypervisor.libvirt import daemon
from appliance.hypervisor.libvirt.network import Network
from appliance.hypervisor.libvirt.provider import LibvirtProvider
from appliance.lifecycle.specs import card
from appliance.run import run
from appliance.settings import Settings, environment, load
from tests.integration.conftest import Libvirtd, MakeSpec
from tests.integration.look import traces


def test_it_sees_only_its_own(libvirtd: Libvirtd) -> None:
    inside = Path(f"/proc/{libvirtd.pid}/root")
    nodes = {entry.name for entry in (inside / "dev").iterdir()}
    assert "kvm" not in nodes or daemon.acceleration(libvirtd.settings)[0] == "kvm"
    assert nodes <= {*daemon.NODES, *daemon.FOLDERS, "kvm", "fd", "stdin", "stdout", "stderr"}
    assert (inside / "etc/libvirt").samefile(libvirtd.settings.libvirt / "etc")
    assert not Path("/etc/libvirt").samefile(libvirtd.settings.libvirt / "etc")
    assert Path(f"/proc/{libvirtd.pid}/ns/net").readlink() != Path("/proc/self/ns/net").readlink()
    assert libvirtd.pid == int((libvirtd.settings.libvirt / "run/libvirtd.pid").read_text())


def test_a_second_one_refuses_and_the_first_goes_on(libvirtd: Libvirtd, provider: LibvirtProvider) -> None:
    second = subprocess.run(
        [sys.executable, "-m", "appliance.hypervisor.libvirt.daemon"],
        env={**os.environ, **environment(libvirtd.settings)},
        capture_output=True,
        timeout=60,
    )
    assert second.returncode != 0
    assert b"libvirtd.pid" in second.stderr
    assert provider.host().cpus > 0
    assert libvirtd.process
    assert libvirtd.process.poll() is None


def test_the_network_is_not_removed_while_something_works_in_it(libvirtd: Libvirtd) -> None:
    network = Network(libvirtd.settings)
    with pytest.raises(Conflict, match=str(libvirtd.pid)):
        network.down()
    assert network.exists()


def test_the_network_made_again_keeps_what_was_admitted(libvirtd: Libvirtd) -> None:
    network, first = Network(libvirtd.settings), card(libvirtd.settings, 40)
    network.admit("one", first)
    network.admit("one", first)
    network.up()
    assert network.admitted()["one"] == [network.tap(first), first.mac, first.address]
    # The slot goes to another machine: whatever was left of the last one is forgotten.
    network.admit("other", first)
    assert "one" not in network.admitted()
    network.expel("other")
    network.expel("other")
    assert "other" not in network.admitted()


def test_a_network_of_its_own_comes_and_goes(appliance_settings: Settings) -> None:
    settings = replace(appliance_settings, network=f"{appliance_settings.network}x", subnet="10.99.0.0/16", uplink="169.254.99.0/30")
    network = Network(settings)
    network.up()
    assert network.exists()
    assert any(route["dst"] == "10.99.0.0/16" for route in json.loads(run(["ip", "-json", "route"])))
    network.down()
    network.down()
    assert not network.exists()
    network.expel("nobody")
    assert "10.99.0.0" not in run(["ip", "route"])
    assert network.outer not in run(["ip", "link"])


@pytest.mark.badinput
def test_addresses_in_use_are_refused(libvirtd: Libvirtd) -> None:
    theirs = replace(libvirtd.settings, network=f"{libvirtd.settings.network}y", uplink="169.254.98.0/30")
    with pytest.raises(BadInput, match="in use") as caught:
        Network(theirs).up()
    assert "DPE_SUBNET" in caught.value.hint
    assert not Network(theirs).exists()


@pytest.mark.badinput
def test_a_state_directory_that_cannot_work_is_refused(tmp_path: Path) -> None:
    long = load({}, state=tmp_path / ("x" * 100))
    with pytest.raises(BadInput, match="too long"):
        daemon.prepare(long)
    assert not long.state.exists()
    closed = Path("/tmp") / f"dpe-closed-{os.getpid()}"
    closed.mkdir(mode=0o700)
    try:
        with pytest.raises(BadInput, match=f"cannot pass through {closed}") as caught:
            daemon.prepare(load({}, state=closed / "s"))
        assert f"chmod o+x {closed}" in caught.value.hint
    finally:
        run(["rm", "-r", closed])


def test_without_a_libvirtd_every_verb_says_so(tmp_path: Path) -> None:
    provider = LibvirtProvider(load({}, state=tmp_path))
    provider.watch(print)
    id = "6b1c0000-0000-4000-8000-000000000000"
    for verb in (
        provider.list,
        provider.host,
        provider.stats,
        lambda: provider.destroy(id),
        lambda: provider.save(id),
        lambda: provider.execute(id, ["x"]),
    ):
        with pytest.raises(Unavailable, match="does not answer") as caught:
            verb()
        assert caught.value.hint


@pytest.mark.lost
def test_a_machine_that_was_being_started_when_libvirtd_was_killed_can_be_made_again(
    libvirtd: Libvirtd, provider: LibvirtProvider, make_spec: MakeSpec, small_snapshot: str
) -> None:
    """What libvirt has written of it by then, put in the place of what it wrote later; others go on."""
    half, other = (make_spec(slot, snapshot=small_snapshot) for slot in (5, 6))
    before = traces(libvirtd.settings)
    try:
        provider.fork(half)
        provider.fork(other)
        libvirtd.stop(signal.SIGKILL)
        folder = libvirtd.settings.libvirt / "run/qemu"
        qemu = psutil.Process(int((folder / f"{half.name}.pid").read_text()))
        status = ET.parse(folder / f"{half.name}.xml")
        status.getroot().attrib.update(state="paused", reason="starting up", pid="0")
        ET.SubElement(status.getroot(), "job", {"type": "none", "async": "start", "flags": "0x1", "asyncStarted": "1795957933160"})
        status.write(folder / f"{half.name}.xml")
        libvirtd.start()
        assert {machine.id for machine in provider.list()} == {other.id}
        assert not qemu.is_running() or qemu.status() == psutil.STATUS_ZOMBIE
        provider.fork(half)
        provider.start(half)
        provider.wait(half)
        provider.start(other)
        provider.wait(other)
    finally:
        provider.destroy(half.id)
        provider.destroy(other.id)
    assert traces(libvirtd.settings) - before == set()
