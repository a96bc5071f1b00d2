"""A small host of its own for tests of the network: network namespace, systemd-networkd, message bus and dpe-host, and a neighbour at the other
end of its one cable.

`python -m tests.netbox` runs inside; `Box` starts it and asks it from outside, over the Unix socket of dpe-host, which crosses namespaces.
"""

import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

from appliance import layout
from appliance.settings import REPOSITORY, Settings, environment
from tests.hosted import Wire
from tests.waiting import until

NETWORKD = Path("/lib/systemd/systemd-networkd")
BUS = """<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig><type>system</type><listen>unix:path=/run/dbus/system_bus_socket</listen><auth>EXTERNAL</auth>
<policy context="default"><allow send_destination="*" eavesdrop="true"/><allow eavesdrop="true"/><allow own="*"/><allow user="*"/></policy>
</busconfig>"""

# Its card is eth0; the neighbour, 192.0.2.1 and .2, is in a namespace of its own, named by the second process.
INSIDE = """
set -e
mount -t tmpfs tmpfs /run
mkdir -p /run/dbus /run/systemd/network /run/systemd/netif
chown systemd-network:systemd-network /run/systemd/netif
mount -t sysfs -o ro sysfs /sys
dbus-daemon --config-file="$1/bus.conf" --nofork --nopidfile &
ip link set lo up
unshare --net sleep 100000 &
neighbour=$!
while [ "$(readlink /proc/$neighbour/ns/net)" = "$(readlink /proc/self/ns/net)" ]; do :; done
ip link add eth0 type veth peer name there netns $neighbour
nsenter -t $neighbour -n sh -c 'ip link set lo up; ip link set there up; ip address add 192.0.2.1/24 dev there; ip address add 192.0.2.2/24 dev there'
echo $neighbour > "$1/neighbour"
while ! [ -S /run/dbus/system_bus_socket ]; do :; done
touch "$1/ready"
wait
"""

# Nobody listens on port 9, which the kernel at the address says, if it is reached.
REFUSED = """
import socket, sys
try:
    socket.create_connection((sys.argv[1], 9), 2)
except ConnectionRefusedError:
    sys.exit(0)
except OSError:
    sys.exit(1)
"""


class Box:
    """The host; `boot()` starts what systemd would, `cut()` ends it as a power cut does."""

    def __init__(self, settings: Settings, folder: Path) -> None:
        self.settings, self.folder = settings, folder
        self.client = Wire(settings, "grace")
        layout.prepare(settings)
        (folder / "bus.conf").write_text(BUS)
        (folder / "sys/eth0/device").mkdir(parents=True)
        for name, said in (("address", ""), ("carrier", "1"), ("speed", "1000")):
            (folder / "sys/eth0" / name).write_text(said)
        self.house = subprocess.Popen(
            [
                "unshare",
                "--net",
                "--mount",
                "--uts",
                "--pid",
                "--fork",
                "--kill-child=KILL",
                "--mount-proc",
                "sh",
                "-c",
                INSIDE,
                "sh",
                folder,
            ]
        )
        self.inside = ["nsenter", "--net", "--mount", "--uts", "--pid", f"--target={self._wait_for('ready')}"]
        self.processes: dict[str, subprocess.Popen[bytes]] = {}

    def _wait_for(self, name: str) -> int:
        until(lambda: (self.folder / name).exists() or self.house.poll() is not None)
        assert self.house.poll() is None
        children = Path(f"/proc/{self.house.pid}/task/{self.house.pid}/children").read_text().split()
        return int(children[0])

    def boot(self) -> None:
        subprocess.run([*self.inside, "rm", "-rf", "/run/systemd/network", "/run/systemd/netif/state"], check=True)
        self._python("apply").wait(30)
        with (self.folder / "networkd.log").open("ab") as log:
            self.processes["networkd"] = subprocess.Popen([*self.inside, NETWORKD], stdout=log, stderr=log)
        self.begin_host()

    def begin_host(self) -> None:
        self.processes["host"] = self._python("host")
        until(self._answers)

    def _python(self, what: str) -> subprocess.Popen[bytes]:
        env = {**os.environ, **environment(self.settings), "BOX": str(self.folder), "PYTHONPATH": str(REPOSITORY)}
        return subprocess.Popen([*self.inside, sys.executable, "-m", "tests.netbox", what], env=env)

    def _answers(self) -> bool:
        try:
            with socket.socket(socket.AF_UNIX) as line:
                line.connect(str(self.settings.host_socket))
        except OSError:
            return False
        return True

    def kill(self, name: str) -> None:
        """As kill -9 does; nsenter is the process's parent, in another PID namespace."""
        process = self.processes.pop(name)
        for child in Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split():
            os.kill(int(child), signal.SIGKILL)
        process.wait(10)

    def cut(self) -> None:
        """The power goes: no process has time for anything; what is in memory, and the card's address, is lost."""
        for name in list(self.processes):
            self.kill(name)
        self.settings.host_socket.unlink(missing_ok=True)
        subprocess.run([*self.inside, "ip", "address", "flush", "dev", "eth0"], check=True)

    def addresses(self) -> list[str]:
        """The card's IPv4 addresses with prefixes."""
        said = subprocess.run([*self.inside, "ip", "-4", "-json", "address", "show", "dev", "eth0"], check=True, capture_output=True).stdout
        return [f"{one['local']}/{one['prefixlen']}" for card in json.loads(said) for one in card["addr_info"]]

    def gateway(self) -> str:
        said = subprocess.run([*self.inside, "ip", "-json", "route", "show", "default"], check=True, capture_output=True).stdout
        return next((one["gateway"] for one in json.loads(said)), "")

    def reached_at(self, address: str) -> bool:
        """Whether the neighbour gets an answer from there."""
        neighbour = (self.folder / "neighbour").read_text().strip()
        asked = [*self.inside, "nsenter", "-t", neighbour, "-n", sys.executable, "-c", REFUSED, address]
        return subprocess.run(asked).returncode == 0

    def close(self) -> None:
        for process in self.processes.values():
            process.kill()
        self.house.kill()
        self.house.wait(10)
        for process in self.processes.values():
            process.wait(10)


def main() -> None:
    from appliance.host.interface.system import Image
    from appliance.host.rpc import daemon
    from appliance.host.system import apply, image, network

    folder = Path(os.environ["BOX"])
    network.SYS = folder / "sys"
    made = Image.model_validate({"version": "1", "built_at": "2026-01-01T00:00:00Z", "scenario": "notebook"})
    image.boot_image = lambda *_: made
    daemon.main() if sys.argv[1] == "host" else apply.main()


if __name__ == "__main__":
    main()
