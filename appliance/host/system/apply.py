"""`python -m appliance.host.system.apply`: what host.json says, as files in /run for systemd; at boot, and whenever it changes.

Nothing below /etc is written: it is read-only in the image. At boot this comes before networkd and timesyncd.
"""

import logging
import socket
from pathlib import Path

from appliance import durable
from appliance.host.interface.network import MAC, Network
from appliance.host.system import config, network_trial
from appliance.host.system.config import HostConfig
from appliance.run import run
from appliance.settings import Settings, load

log = logging.getLogger(__name__)

HEAD = "# Written from host.json at each boot and change.\n"
PHYSICAL = "Type=ether\nKind=!*\n"  # not the machines' own network
OTHERS = 2048  # route metric of cards that nobody spoke of
NETWORK = "run/systemd/network"
CLOCK = "run/systemd/timesyncd.conf.d/dpe.conf"
RUNS = Path("/run/systemd/netif/state")
NO_CLOCK = "run/dpe/no-ntp"  # a drop-in of timesyncd's unit looks for it


def files(host: HostConfig) -> dict[str, str | None]:
    """Every file, from the root on, with its content; None where there must be none."""
    network = host.network
    first = _dhcp(_match(network.card)) if network.mode == "dhcp" else _static(network)
    return {
        f"{NETWORK}/10-dpe.network": HEAD + first,
        f"{NETWORK}/20-dpe-others.network": HEAD + _dhcp(PHYSICAL, OTHERS) if network.card else None,
        CLOCK: f"{HEAD}[Time]\nNTP={' '.join(host.ntp)}\n" if host.ntp else None,
        NO_CLOCK: None if host.ntp_enabled else "",
    }


def _match(card: str) -> str:
    if not card:
        return PHYSICAL
    return f"MACAddress={card}\nType=ether\n" if MAC.fullmatch(card) else f"Name={card}\n"


def _dhcp(match: str, metric: int | None = None) -> str:
    routes = f"RouteMetric={metric}\n" if metric else ""
    needed = "RequiredForOnline=no\n" if metric else ""
    return (
        f"[Match]\n{match}\n"
        + (f"[Link]\n{needed}\n" if needed else "")
        + f"[Network]\nDHCP=yes\nIPv6AcceptRA=yes\n\n[DHCPv4]\nUseHostname=no\nClientIdentifier=mac\n{routes}"
        + (f"\n[IPv6AcceptRA]\n{routes}" if routes else "")
    )


def _static(network: Network) -> str:
    lines = [f"Address={network.address}"]
    lines += [f"Gateway={network.gateway}"] if network.gateway else []
    lines += [f"DNS={one}" for one in network.dns]
    return f"[Match]\n{_match(network.card)}\n[Network]\nIPv6AcceptRA=yes\n" + "\n".join(lines) + "\n"


def write_files(host: HostConfig, root: Path = Path("/")) -> None:
    """Write all files below `root`."""
    for name, content in files(host).items():
        path = root / name
        if content is None:
            path.unlink(missing_ok=True)
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        durable.write(path, content, mode=0o644)  # networkd is not root


def reload(host: HostConfig) -> None:
    """Have systemd take up what was written."""
    socket.sethostname(host.hostname)
    run(["networkctl", "reload"])


def reload_clock(host: HostConfig) -> None:
    """The same for the clock."""
    run(["systemctl", "restart" if host.ntp_enabled else "stop", "systemd-timesyncd.service"])


def boot(settings: Settings, root: Path = Path("/")) -> HostConfig:
    """What is done at boot: a network on trial that nobody confirmed is forgotten; the files are written. Returns what was applied."""
    if network_trial.forget(settings):
        log.warning("a change of the network was never confirmed: the old one is back")
    host, complaint = config.read(settings)
    if complaint:
        log.warning("%s", complaint)
    write_files(host, root)
    return host


def main() -> None:
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s")
    host = boot(load())
    socket.sethostname(host.hostname)
    if RUNS.exists():  # not so at boot, when networkd waits for us
        reload(host)


if __name__ == "__main__":
    main()
