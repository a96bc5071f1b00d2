"""`python -m appliance.hypervisor.daemon`: the appliance's own libvirtd, in the foreground.

It shares nothing with a libvirt that is already in use on the host: its etc, lib, run, log and cache
directories are folders of the state directory, mounted over the usual places in a mount namespace of its
own, and it lives in the machines' network namespace. QEMU processes outlive it, and the next one adopts
them. `--remove` takes the network away again.
"""

import argparse
import json
import os
import pwd
import shutil
import sys
from pathlib import Path

from appliance import layout
from appliance.errors import BadInput, Conflict, DpeError, Unavailable
from appliance.hypervisor.network import Network
from appliance.hypervisor.probe import probe
from appliance.run import run
from appliance.settings import Settings
from appliance.settings import load as load_settings

USER = "dpe-qemu"
SOCKET = "libvirt-sock"
LONGEST_SOCKET = 107  # bytes in sockaddr_un, without the closing nought

PLACES = {"etc": "/etc/libvirt", "lib": "/var/lib/libvirt", "run": "/run/libvirt", "log": "/var/log/libvirt", "cache": "/var/cache/libvirt"}

# What a QEMU needs of /dev; everything but kvm.
NODES = ("null", "zero", "full", "random", "urandom", "ptmx", "tty", "rtc", "hpet")


def uri(settings: Settings) -> str:
    """How libvirt's clients reach this daemon."""
    return f"qemu+unix:///system?socket={settings.libvirt / 'run' / SOCKET}"


def facts_file(settings: Settings) -> Path:
    """What the probe found at the daemon's start; a fact of the host, good until it starts again."""
    return settings.libvirt / "acceleration.json"


def acceleration(settings: Settings) -> tuple[str, str]:
    """("kvm" or "emulation", why), as found at the daemon's start."""
    try:
        found = json.loads(facts_file(settings).read_text())
    except (OSError, ValueError):
        return "emulation", "The hypervisor has not been started yet."
    return found["acceleration"], found["reason"]


def prepare(settings: Settings) -> None:
    """Directories, configuration, network and the probe. Raises BadInput or Unavailable saying what to do."""
    longest = settings.libvirt / "lib/qemu/channel/target" / f"domain-{2**16}-{'x' * 20}" / "org.qemu.guest_agent.0"
    if len(os.fsencode(longest)) > LONGEST_SOCKET + 20:
        raise BadInput(
            f"The state directory's path is too long for libvirt's sockets: {settings.state}.", "Use a shorter one with DPE_STATE."
        )
    try:
        pwd.getpwnam(USER)
    except KeyError as error:
        raise Unavailable(f"There is no user {USER} for QEMU to run as.", "Run `make setup`.") from error
    layout.prepare(settings)
    for name in PLACES:
        (settings.libvirt / name).mkdir(parents=True, exist_ok=True)
    for folder in (settings.libvirt, settings.libvirt / "lib", settings.libvirt / "run"):
        folder.chmod(0o711)
    _check_passable(settings.state)
    etc = settings.libvirt / "etc"
    (etc / "libvirtd.conf").write_text(
        'unix_sock_group = "root"\nunix_sock_rw_perms = "0700"\nauth_unix_rw = "none"\nauth_unix_ro = "none"\n'
        'unix_sock_ro_perms = "0700"\nlog_level = 3\nlog_outputs = "3:file:/var/log/libvirt/libvirtd.log"\nmax_clients = 200\nadmin_max_clients = 5\n'
    )
    # No AppArmor, cgroup or machined: those belong to the host's own libvirt. In the bootable image the
    # units confine this process instead. virtlogd is absent, so QEMU writes its log itself.
    (etc / "qemu.conf").write_text(
        f'user = "{USER}"\ngroup = "{USER}"\ndynamic_ownership = 1\nremember_owner = 0\nsecurity_driver = "none"\n'
        'cgroup_controllers = []\nstdio_handler = "file"\nnamespaces = []\nmax_core = 0\nauto_dump_path = "/var/lib/libvirt/qemu/dump"\n'
    )
    accelerated, reason = probe(settings)
    facts_file(settings).write_text(json.dumps({"acceleration": accelerated, "reason": reason}))
    Network(settings).up()


def _check_passable(state: Path) -> None:
    for folder in (state, *state.resolve().parents):
        if not folder.stat().st_mode & 0o001:
            raise BadInput(
                f"QEMU runs as {USER}, which cannot pass through {folder}.",
                f"Let it: chmod o+x {folder}, or keep the state elsewhere with DPE_STATE.",
            )


def enter(settings: Settings) -> None:
    """Inside the new mount namespace: put our folders over the usual places, then become libvirtd."""
    run(["mount", "--make-rprivate", "/"])
    # libvirt sets up bridge ports through /sys, which must be that of the network namespace we are in by now.
    run(["mount", "-t", "sysfs", "sysfs", "/sys"])
    for name, place in PLACES.items():
        Path(place).mkdir(parents=True, exist_ok=True)
        run(["mount", "--bind", settings.libvirt / name, place])
    # libvirtd would announce its machines to the host's machined.
    if Path("/run/dbus").is_dir():
        run(["mount", "-t", "tmpfs", "-o", "mode=755", "none", "/run/dbus"])
    if acceleration(settings)[0] != "kvm" and Path("/dev/kvm").exists():
        _hide_kvm(settings)
    libvirtd = shutil.which("libvirtd") or "/usr/sbin/libvirtd"
    pid = settings.libvirt / "run/libvirtd.pid"
    os.execv(libvirtd, [libvirtd, "--config", "/etc/libvirt/libvirtd.conf", "--pid-file", os.fspath(pid)])  # noqa: S606


def _hide_kvm(settings: Settings) -> None:
    """A libvirt 11 that sees a /dev/kvm which QEMU cannot use probes QEMU again and again, 2 s each; so it gets a /dev without."""
    new = settings.libvirt / "dev"
    new.mkdir(exist_ok=True)
    run(["mount", "-t", "tmpfs", "-o", "mode=755,size=1m,dev", "none", new])
    for name in NODES:
        if (source := Path("/dev") / name).exists():
            # Nodes of its own: a ptmx that is mounted from elsewhere does not find the pts beside it.
            there = source.stat()
            os.mknod(new / name, there.st_mode, there.st_rdev)
            (new / name).chmod(there.st_mode & 0o777)
    for name in ("pts", "shm", "net", "mqueue", "hugepages"):
        if (source := Path("/dev") / name).is_dir():
            (new / name).mkdir()
            run(["mount", "--rbind", source, new / name])
    for name, target in (
        ("fd", "/proc/self/fd"),
        ("stdin", "/proc/self/fd/0"),
        ("stdout", "/proc/self/fd/1"),
        ("stderr", "/proc/self/fd/2"),
    ):
        (new / name).symlink_to(target)
    run(["mount", "--move", new, "/dev"])


def remove(settings: Settings) -> None:
    """Take the network away. Raises Conflict while machines run."""
    running = sorted(file.stem for file in (settings.libvirt / "run/qemu").glob("*.pid"))
    if any(Path(f"/proc/{(settings.libvirt / 'run/qemu' / f'{name}.pid').read_text().strip()}").exists() for name in running):
        raise Conflict(f"Machines are running: {', '.join(running)}.", "Park or destroy them first.")
    Network(settings).down()


def main() -> None:
    parser = argparse.ArgumentParser(prog="appliance.hypervisor.daemon", description=__doc__)
    parser.add_argument("--remove", action="store_true", help="take the machines' network away and end")
    parser.add_argument("--enter", action="store_true", help=argparse.SUPPRESS)  # we call ourselves, inside the namespaces
    arguments = parser.parse_args()
    try:
        settings = load_settings()
        if arguments.remove:
            remove(settings)
            return
        if arguments.enter:
            enter(settings)
        prepare(settings)
    except DpeError as error:
        print(f"libvirtd: {error}", file=sys.stderr)
        sys.exit(1)
    network = f"--net=/run/netns/{settings.network}"
    me = [sys.executable, "-m", "appliance.hypervisor.daemon", "--enter"]
    unshare = shutil.which("unshare") or "/usr/bin/unshare"
    os.environ["DPE_STATE"] = os.fspath(settings.state)
    os.execv(unshare, [unshare, "--mount", "--", "nsenter", network, "--", *me])  # noqa: S606


if __name__ == "__main__":
    main()
