"""`python -m appliance.hypervisor.libvirt.daemon`: the appliance's own libvirtd, in the foreground.

It shares nothing with a libvirt that is already in use on the host: its etc, lib, run, log and cache
directories are folders of the state directory, mounted over the usual places in a mount namespace of its
own, and it lives in the machines' network namespace. QEMU processes outlive it, and the next one adopts
them. `--remove` takes the network away again.
"""

import argparse
import contextlib
import ctypes
import json
import os
import pwd
import shutil
import sys
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import NoReturn

import psutil

from appliance import durable, layout
from appliance.errors import BadInput, DpeError, Unavailable
from appliance.hypervisor.libvirt.network import Network
from appliance.hypervisor.libvirt.probe import probe
from appliance.run import environ, run, tied
from appliance.settings import Settings, environment
from appliance.settings import load as load_settings

USER = "dpe-qemu"
TUN = Path("/dev/net/tun")
LONGEST_SOCKET = 107  # bytes in sockaddr_un, without the closing nought

PR_SET_THP_DISABLE = 41  # prctl(2)

PLACES = {"etc": "/etc/libvirt", "lib": "/var/lib/libvirt", "run": "/run/libvirt", "log": "/var/log/libvirt", "cache": "/var/cache/libvirt"}

# All that libvirtd and QEMU need of /dev, besides kvm. They get nothing else, the host's disks least of all.
NODES = ("null", "zero", "full", "random", "urandom", "tty", "ptmx", "vhost-net")
FOLDERS = ("pts", "shm", "net", "hugepages")

Value = str | int | list[str]

LIBVIRTD_CONF: dict[str, Value] = {
    "unix_sock_group": "root",
    "unix_sock_rw_perms": "0700",
    "unix_sock_ro_perms": "0700",
    "auth_unix_rw": "none",
    "auth_unix_ro": "none",
    # One client, the engine, makes many machines at once; each call takes a worker until its QEMU or its guest has answered.
    "max_workers": 64,
    "max_client_requests": 64,
    "log_outputs": "3:stderr",  # whoever started it keeps its log, shows it when it does not start, and keeps it small
}
QEMU_CONF: dict[str, Value] = {
    "user": USER,
    "group": USER,
    "dynamic_ownership": 0,  # a machine's disk has its owner from the start, and seeds belong to no machine
    "remember_owner": 0,
    # AppArmor, control groups and machined are the host's own libvirt's. This libvirtd is confined by its namespaces.
    "security_driver": "none",
    "cgroup_controllers": [],
    "namespaces": [],  # the /dev that we made is as bare as the one that libvirt would make for each QEMU
    "stdio_handler": "file",  # there is no virtlogd
    "max_core": 0,
}


def uri(settings: Settings) -> str:
    """How libvirt's clients reach this daemon."""
    return f"qemu+unix:///system?socket={socket_path(settings)}"


def socket_path(settings: Settings) -> Path:
    return settings.libvirt / "run/libvirt-sock"


def pid_file(settings: Settings) -> Path:
    return settings.libvirt / "run/libvirtd.pid"


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
    if len(os.fsencode(socket_path(settings))) > LONGEST_SOCKET:
        raise BadInput(
            f"The path of the state directory, {settings.state}, is too long for a socket in it.", "Choose a shorter one with DPE_STATE."
        )
    try:
        qemu = pwd.getpwnam(USER).pw_uid
    except KeyError as error:
        raise Unavailable(f"There is no user {USER} for QEMU to run as.", "Run `make setup`.") from error
    _check_cards()
    layout.prepare(settings)
    end_leftovers(settings)
    for name in PLACES:
        (settings.libvirt / name).mkdir(parents=True, exist_ok=True)
    settings.libvirt.chmod(0o711)
    layout.share_folder(settings.screens, qemu)  # QEMU makes a socket there
    layout.share_folder(settings.serial_lines, 0)  # libvirtd does
    _check_passable(settings.state)
    _write(settings.libvirt / "etc/libvirtd.conf", LIBVIRTD_CONF)
    _write(settings.libvirt / "etc/qemu.conf", QEMU_CONF)
    accelerated, reason = probe(settings)
    durable.write(facts_file(settings), json.dumps({"acceleration": accelerated, "reason": reason}), mode=0o644)
    Network(settings).up()


def _check_cards() -> None:
    """Known before there is a machine whose network card is made from it."""
    try:
        os.close(os.open(TUN, os.O_RDWR))
    except OSError as error:
        hint = f"Load it with `modprobe tun`; a container is given it by whoever starts it, like `docker run --device {TUN}`."
        raise Unavailable(f"Machines get no network cards here: {TUN} cannot be opened: {error.strerror}.", hint) from error


def is_running(settings: Settings) -> bool:
    """Whether libvirtd runs already."""
    try:
        return psutil.Process(int(pid_file(settings).read_text())).name() == "libvirtd"
    except (OSError, ValueError, psutil.NoSuchProcess):
        return False


def end_leftovers(settings: Settings) -> None:
    """End what a libvirtd that was killed left unfinished. While one runs, what it is starting is its own."""
    if not is_running(settings):
        end_probes(settings)
        end_half_started(settings)


def end_half_started(settings: Settings) -> None:
    """Forget the machines whose QEMU libvirtd was starting when it was killed, and end what there is of them.

    libvirt notes that a machine starts before it knows its process (`pid='0'`). The next libvirtd takes such a note for a machine that runs and
    looks for no process of it, so that it starts for ever: nothing else can be done to it, not even to end it. Seen with libvirt 9.0; its source:
    `qemuProcessReconnectHelper` returns when there is no pid.
    """
    for status in (settings.libvirt / "run/qemu").glob("*.xml"):
        try:
            told = ET.parse(status).getroot()  # noqa: S314  our own libvirtd wrote it
        except (ET.ParseError, FileNotFoundError):
            continue  # libvirt says what it thinks of it
        if told.tag != "domstatus" or told.get("pid") != "0":
            continue
        with contextlib.suppress(OSError, ValueError, psutil.Error):
            process = psutil.Process(int(status.with_suffix(".pid").read_text()))
            if f"guest={status.stem}," in " ".join(process.cmdline()):
                process.kill()
                process.wait(5)
        status.with_suffix(".pid").unlink(missing_ok=True)
        monitor = told.find("monitor")
        folder = Path("" if monitor is None else monitor.get("path", "")).parent.name
        if folder.startswith("domain-"):  # its sockets and key
            for place in (settings.libvirt / "lib/qemu", settings.libvirt / "lib/qemu/channel/target"):
                shutil.rmtree(place / folder, ignore_errors=True)
        status.unlink(missing_ok=True)


def end_probes(settings: Settings) -> None:
    """End the QEMU processes that libvirtd was asking what they can do when it was killed; they would wait for ever."""
    folders = list((settings.libvirt / "lib/qemu").glob("qmp-*"))
    for process in psutil.process_iter(["cmdline"]) if folders else ():
        words = " ".join(process.info["cmdline"] or ())
        if any(f"/{folder.name}/" in words for folder in folders):
            with contextlib.suppress(psutil.Error):
                process.kill()
                process.wait(5)
    for folder in folders:
        shutil.rmtree(folder, ignore_errors=True)


def _write(file: Path, values: dict[str, Value]) -> None:
    # libvirt writes strings, numbers and lists as JSON does.
    durable.write(file, "".join(f"{name} = {json.dumps(value)}\n" for name, value in values.items()), mode=0o644)


def _check_passable(state: Path) -> None:
    for folder in (state, *state.resolve().parents):
        if not folder.stat().st_mode & 0o001:
            raise BadInput(
                f"QEMU runs as {USER}, which cannot pass through {folder}.",
                f"Let it: chmod o+x {folder}, or keep the state elsewhere with DPE_STATE.",
            )


def enter(settings: Settings) -> NoReturn:
    """Inside the new mount namespace: put our folders over the usual places, then become libvirtd."""
    # libvirt sets up bridge ports through /sys, which must be that of the network namespace we are in by now.
    run(["mount", "-t", "sysfs", "sysfs", "/sys"])
    for name, place in PLACES.items():
        Path(place).mkdir(parents=True, exist_ok=True)
        run(["mount", "--bind", settings.libvirt / name, place])
    _mount_dev(settings)
    if acceleration(settings)[0] == "emulation":
        # Of what QEMU asks huge pages for, translated code and a screen's memory, a fork that waits has used next to nothing: 6 MiB each.
        # With KVM the memory of machines that boot is worth them. All that libvirtd starts is like it in that.
        ctypes.CDLL(None).prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0)
    command = ["libvirtd", "--config", "/etc/libvirt/libvirtd.conf", "--pid-file", os.fspath(pid_file(settings))]
    # It would announce its machines to the host's machined, and ask the host's polkit and firewalld.
    os.execvpe(command[0], command, environ({"DBUS_SYSTEM_BUS_ADDRESS": "unix:path=/nonexistent"}))  # noqa: S606


def _mount_dev(settings: Settings) -> None:
    """A /dev with little in it. A libvirt 11 that sees a kvm which QEMU cannot use probes QEMU again and again, 2 s each."""
    new = settings.libvirt / "dev"
    new.mkdir(exist_ok=True)
    run(["mount", "-t", "tmpfs", "-o", "mode=755,size=1m", "none", new])
    kvm = acceleration(settings)[0] == "kvm"
    for name in (*NODES, *(["kvm"] if kvm else [])):
        if (source := Path("/dev") / name).exists():
            # Nodes of its own: a ptmx that is mounted from elsewhere does not find the pts beside it.
            there = source.stat()
            os.mknod(new / name, there.st_mode, there.st_rdev)
            (new / name).chmod(there.st_mode & 0o777)
    if kvm:
        shutil.chown(new / "kvm", USER, USER)
    for name in FOLDERS:
        if (source := Path("/dev") / name).is_dir():
            (new / name).mkdir()
            run(["mount", "--rbind", source, new / name])
    for name, target in {"fd": "", "stdin": "0", "stdout": "1", "stderr": "2"}.items():
        (new / name).symlink_to(Path("/proc/self/fd") / target)
    run(["mount", "--move", new, "/dev"])


def main() -> None:
    """Start libvirtd; or with --remove take the machines' network away, which refuses while anything works in it."""
    parser = argparse.ArgumentParser(prog="appliance.hypervisor.libvirt.daemon", description=main.__doc__)
    parser.add_argument("--remove", action="store_true", help="take the machines' network away and end")
    parser.add_argument("--enter", action="store_true", help=argparse.SUPPRESS)  # we call ourselves, inside the namespaces
    arguments = parser.parse_args()
    try:
        settings = load_settings()
        if arguments.remove:
            end_leftovers(settings)
            Network(settings).down()
            return
        if arguments.enter:
            enter(settings)
        prepare(settings)
    except DpeError as error:
        print(f"libvirtd: {error}", file=sys.stderr)
        sys.exit(1)
    # QEMU's parent is long gone when it ends, and libvirtd waits until somebody has buried it. Not every host's first
    # process does so at once, and in containers some never do. It ends with libvirtd, and takes it along.
    undertaker = ["tini", "-s", "--"]  # which is this process then, and what is tied to this one is tied to it
    # Each of these becomes the next, down to libvirtd.
    # Changes of the host's mounts come through; ours do not go back.
    unshare = ["unshare", "--mount", "--propagation", "slave", "--"]
    nsenter = ["nsenter", f"--net=/run/netns/{settings.network}", "--"]
    command = [*undertaker, *tied([*unshare, *nsenter, sys.executable, "-m", "appliance.hypervisor.libvirt.daemon", "--enter"])]
    os.execvpe(command[0], command, environ(environment(settings)))  # noqa: S606


if __name__ == "__main__":
    main()
