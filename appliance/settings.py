"""Every setting of the appliance, declared once.

A setting is read from the environment (`DPE_<NAME>`), else from `settings.toml` in the state
directory, else it has the default below. A path that is not absolute starts where the process was
started, in the file at the file; it is made absolute here, because the parts run elsewhere. Those are what the operator of the *host* decides, before
there is a catalog; what an admin decides in the web page lives in the catalog (`catalog.options`).
"""

import dataclasses
import ipaddress
import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, NamedTuple

from appliance.errors import BadInput
from appliance.paths import below

REPOSITORY = Path(__file__).resolve().parent.parent
PAGES = 4  # web pages of one machine at most: the front door has so many ports for each
EPHEMERAL = 32768  # the first port that the kernel gives out itself
FIRST_SLOT = 16  # the first address that is a machine's; those before are the gateway's and of machines that are only made to look


def _setting(default: Any, help: str, *, path: bool = False) -> Any:
    return field(default=default, metadata={"help": help, "path": path or isinstance(default, Path)})


@dataclass(frozen=True)
class Settings:
    """The resolved settings, handed down explicitly. Sizes are MiB, times are seconds."""

    state: Path = _setting(Path("/var/lib/dpe"), "Directory that holds everything the appliance keeps.")
    scenario: Path = _setting(REPOSITORY / "playbooks/scenarios/notebook", "Folder of the scenario that this appliance serves.")
    listen: str = _setting("0.0.0.0", "Address on which the front door listens.")
    https_port: int = _setting(8443, "Port of the web page.")
    app_port: int = _setting(9000, "First of the ports on which machines' applications are served.")
    ssh_port: int = _setting(2222, "Port of the appliance's SSH server, which is there when an admin switches it on.")
    slots: int = _setting(250, "How many machines can be alive at once; each has an address and a port of its own.")
    names: str = _setting("", "Further names or addresses, separated by commas, for the TLS certificate made at first start.")
    session_idle: int = _setting(12 * 3600, "Seconds without use after which a browser is signed out.")
    session_longest: int = _setting(7 * 24 * 3600, "Seconds after which a browser is signed out, however much it is used.")
    network: str = _setting("dpe", "Name of the network namespace of the machines; must be unique on the host, 8 letters at most.")
    subnet: str = _setting("10.213.0.0/16", "Addresses of the machines; must not be in use around the host.")
    uplink: str = _setting("169.254.213.0/30", "Addresses of the link between the host and the machines' network.")
    debian_mirror: str = _setting("", "Debian mirror for building seeds; empty means the one that the host itself uses.")
    provider: str = _setting("libvirt", "What runs the machines: the name of an entry point of the group dpe.providers.")
    emulate: bool = _setting(False, "Use emulation even where hardware virtualisation works.")
    host_reserve: int = _setting(1024, "Memory, in MiB, that machines never get.")
    disk_reserve: int = _setting(2048, "Disk space, in MiB, that machines and seeds never get.")
    recipe_days: int = _setting(30, "Days without a request after which the seed of something that people chose is removed.")
    recipe_space: int = _setting(20, "Disk space, in GiB, that the seeds of what people chose take together.")
    backup_folder: str = _setting(
        "", "Folder for copies of data disks, best on another disk or server; empty means backups in the state directory.", path=True
    )
    shipped_seeds: Path = _setting(Path("/usr/share/dpe/seeds"), "Folder of the seeds that came with the image; there may be none.")
    parallel: int = _setting(max(1, (os.cpu_count() or 2)), "How many machines are made at the same time.")

    @property
    def catalog(self) -> Path:
        """In a directory of its own, the only one where the unprivileged web process may write."""
        return self.state / "catalog" / "catalog.db"

    @property
    def readings(self) -> Path:
        """Host, classes and machines over time; beside the catalog, because the web process keeps what applications send."""
        return self.catalog.parent / "readings.db"

    @property
    def doorbell(self) -> Path:
        return self.catalog.parent / "doorbell"

    @property
    def run(self) -> Path:
        """Sockets and pid files; nothing that must survive."""
        return self.state / "run"

    @property
    def screens(self) -> Path:
        """Where machines' screens are served."""
        return self.run / "vnc"

    @property
    def serial_lines(self) -> Path:
        """Where machines' serial lines are served."""
        return self.run / "tty"

    def screen(self, id: str) -> Path:
        """The socket on which a machine that runs serves its screen, in RFB. Its name is short, as those of sockets must be."""
        return below(self.screens, id[:13])

    def serial_line(self, id: str) -> Path:
        """The socket of the first serial line of a machine that runs; one at a time can be connected."""
        return below(self.serial_lines, id[:13])

    @property
    def host(self) -> Path:
        """What is this server's own, not the appliance's; it stays on the first disk, even when the state is given another."""
        return self.state / "host"

    @property
    def uploads(self) -> Path:
        """Where the web process puts files that were sent to it, for dpe-host to take."""
        return self.state / "uploads"

    @property
    def updates(self) -> Path:
        """The update that waits to be installed, and catalogs for going back."""
        return self.state / "updates"

    @property
    def host_socket(self) -> Path:
        """Where dpe-host listens."""
        return self.run / "host.sock"

    @property
    def seeds(self) -> Path:
        return self.state / "seeds"

    @property
    def scenarios(self) -> Path:
        """The scenario as the catalog has it, laid out for Ansible: a folder for each state that is in use."""
        return self.state / "scenarios"

    @property
    def packages(self) -> Path:
        """The package indexes of the releases that seeds are built from."""
        return self.state / "packages"

    @property
    def machines(self) -> Path:
        return self.state / "machines"

    @property
    def data(self) -> Path:
        """Data disks, which outlive the machines that use them."""
        return self.state / "data"

    @property
    def kept(self) -> Path:
        """Disks of machines that are gone, kept for some days."""
        return self.state / "kept"

    @property
    def labels(self) -> Path:
        """What machines and disks are and whose, noted outside the catalog."""
        return self.state / "labels"

    @property
    def mark(self) -> Path:
        """Which catalog the state directory belongs to, and how far that had got."""
        return self.state / "catalog-mark.json"

    @property
    def backups(self) -> Path:
        """Copies of data disks."""
        return Path(self.backup_folder) if self.backup_folder else self.state / "backups"

    def data_disk(self, id: str) -> Path:
        """The file of a data disk."""
        return below(self.data, f"{id}.qcow2")

    def kept_disk(self, id: str) -> Path:
        """The file of the disk that the machine of this id had."""
        return below(self.kept, f"{id}.qcow2")

    @property
    def cache(self) -> Path:
        """Downloads; may be deleted at any time."""
        return self.state / "cache"

    @property
    def logs(self) -> Path:
        return self.state / "logs"

    @property
    def support(self) -> Path:
        """Support bundles, until they are fetched."""
        return self.state / "support"

    @property
    def libvirt(self) -> Path:
        """The private libvirtd's own etc, lib, run, log and cache."""
        return self.state / "libvirt"

    @property
    def tls(self) -> Path:
        return self.state / "tls"

    @property
    def web_secret(self) -> Path:
        """The key that signs session cookies."""
        return self.state / "web-secret"

    @property
    def further_port(self) -> int:
        """First of the front door's ports for the further pages of machines: after all for their first ones, and after `https_port` if that lies there."""
        first = self.app_port + self.slots
        return self.https_port + 1 if self.https_port in range(first, first + (PAGES - 1) * self.slots) else first

    @property
    def pages(self) -> int:
        """How many pages of a machine the front door has ports for: `slots` for the first ones, as many for the second, and so on,
        as far as there are ports that the kernel does not give out itself."""
        return 1 + max(0, min(PAGES - 1, (EPHEMERAL - self.further_port) // self.slots)) if self.slots else 1

    @property
    def doors(self) -> tuple[range, range]:
        """The front door's ports for applications: those for first pages, and those for further ones, which may be none."""
        further = range(self.further_port, self.further_port + (self.pages - 1) * self.slots)
        return range(self.app_port, self.app_port + self.slots), further

    def port(self, page: int, door: int) -> int:
        """The front door's port for a page of a machine, counted from 0."""
        return door + (self.app_port if page == 0 else self.further_port + (page - 1) * self.slots)

    def behind(self, port: int) -> tuple[int, int] | None:
        """Which page and door a port is for; None for one that is not the front door's."""
        first, further = self.doors
        if port in first:
            return 0, port - first.start
        return (1 + (port - further.start) // self.slots, (port - further.start) % self.slots) if port in further else None

    def address(self, slot: int) -> str:
        """The address of the machine in `slot` (0 ... slots-1)."""
        return str(ipaddress.ip_network(self.subnet)[slot + FIRST_SLOT])

    @property
    def ssh_names(self) -> list[str]:
        """Patterns of the names and addresses by which SSH knows machines (ssh_config(5), PATTERNS)."""
        network = ipaddress.ip_network(self.subnet)
        return [f"[*]:{self.ssh_port}", "dpe-*", ".".join([*str(network.network_address).split(".")[: network.prefixlen // 8], "*"])]

    @property
    def ssh_questions(self) -> Path:
        """Where dpe-console says what the SSH server may do."""
        return self.run / "ssh" / "questions.sock"

    @property
    def ssh_folder(self) -> Path:
        """What the SSH server keeps while it runs."""
        return self.run / "sshd"

    @property
    def gateway(self) -> str:
        """The address of the machines' bridge."""
        return str(ipaddress.ip_network(self.subnet)[1])

    def check(self) -> None:
        """Raise BadInput naming the setting when the settings cannot work together."""
        try:
            room = ipaddress.ip_network(self.subnet).num_addresses - 32
            ipaddress.ip_network(self.uplink)[2]
        except (ValueError, IndexError) as error:
            raise BadInput(f"The setting subnet or uplink is not a network: {error}.", "Write one like 10.213.0.0/16.") from error
        if self.slots > room:
            raise BadInput(
                f"The setting slots is {self.slots}, but {self.subnet} has room for {room} machines.", "Lower slots or widen subnet."
            )
        if not 0 < self.app_port <= self.app_port + self.slots <= 65535:
            raise BadInput("The setting app_port with slots ports after it goes beyond 65535.", "Lower app_port or slots.")
        if self.app_port <= self.https_port < self.app_port + self.slots:
            raise BadInput(f"The setting https_port ({self.https_port}) lies among the applications' ports.", "Move app_port.")
        if self.ssh_port == self.https_port or self.app_port <= self.ssh_port < self.app_port + self.slots:
            raise BadInput(f"The setting ssh_port ({self.ssh_port}) is a port of the front door.", "Choose another one.")
        if not 60 <= self.session_idle <= self.session_longest:
            raise BadInput(
                f"The settings session_idle ({self.session_idle}) and session_longest ({self.session_longest}) do not fit.",
                "The first is at least a minute, the second no shorter.",
            )
        if not (self.network.isalnum() and self.network[:1].isalpha() and len(self.network) <= 8):
            raise BadInput(f"The setting network ({self.network!r}) must be at most 8 letters and digits.", "Write one like dpe.")


def _convert(name: str, kind: Any, value: Any) -> Any:
    try:
        if kind is bool:
            if isinstance(value, str):
                return {"1": True, "true": True, "yes": True, "on": True, "0": False, "false": False, "no": False, "off": False, "": False}[
                    value.lower()
                ]
            return bool(value)
        return kind(value)
    except (KeyError, ValueError, TypeError) as error:
        raise BadInput(f"The setting {name} cannot be {value!r}.", f"It is a {kind.__name__}.") from error


def load(environ: Mapping[str, str] | None = None, **overrides: Any) -> Settings:
    """Resolve the settings: overrides, then environment, then settings.toml in the state directory, then defaults.

    Raises BadInput, naming the setting, for an unknown name or a value of the wrong type.
    """
    environ = os.environ if environ is None else environ
    kinds = {f.name: f.type for f in fields(Settings)}
    here: dict[str, Any] = {key[4:].lower(): value for key, value in environ.items() if key.startswith("DPE_") and key[4:].lower() in kinds}
    here = {**here, **overrides}
    here["state"] = here.get("state") or Settings.state
    here = _resolved(here, Path.cwd())
    state = here["state"]
    file = state / "settings.toml"
    values: dict[str, Any] = {}
    if file.exists():
        try:
            values = tomllib.loads(file.read_text())
        except tomllib.TOMLDecodeError as error:
            raise BadInput(f"{file} is not valid TOML: {error}.", "Mend the line, or delete the file.") from error
        if unknown := sorted(set(values) - set(kinds)):
            raise BadInput(f"{file} has an unknown setting: {', '.join(unknown)}.", f"The settings are: {', '.join(sorted(kinds))}.")
    values = {**_resolved(values, state), **here}
    settings = dataclasses.replace(Settings(), **{name: _convert(name, kinds[name], value) for name, value in values.items()})
    settings.check()
    return settings


def _resolved(values: dict[str, Any], base: Path) -> dict[str, Any]:
    """The values, in which whatever is a path is absolute."""
    paths = {f.name for f in fields(Settings) if f.metadata["path"]}
    return {name: base / value if name in paths and value and isinstance(value, str | Path) else value for name, value in values.items()}


def environment(settings: Settings) -> dict[str, str]:
    """The settings as environment variables, so that another process loads the same ones."""
    return {f"DPE_{f.name.upper()}": str(getattr(settings, f.name)) for f in fields(Settings)}


# The page of the console on which an admin sets the same: its endpoint, with an anchor.
IN_CONSOLE = {
    "scenario": "scenario.index",
    "names": "server.certificate",
    "session_idle": "preferences.index#sessions",
    "session_longest": "preferences.index#sessions",
    "debian_mirror": "preferences.index#mirror",
    "recipe_days": "preferences.index#choices",
    "recipe_space": "preferences.index#choices",
}
_DOOR = "The front door, by which pages are reached, opens it as it starts."
_NETWORK = "The machines' network is laid out by it as it starts."
_SPARED = "It keeps the pages themselves alive."
# Of all others, why there is no such page.
ONLY_IN_FILE = {
    "state": "All else is found by it.",
    "listen": _DOOR,
    "https_port": _DOOR,
    "app_port": _DOOR,
    "slots": _NETWORK,
    "network": _NETWORK,
    "subnet": _NETWORK,
    "uplink": _NETWORK,
    "provider": "What one made, another cannot run.",
    "emulate": "The hypervisor is started by it.",
    "host_reserve": _SPARED,
    "disk_reserve": _SPARED,
    "backup_folder": "Root mounts it before the appliance starts.",
    "shipped_seeds": "It came with the image.",
    "ssh_port": "The SSH server listens there, and the host's firewall has to know it.",
    "parallel": "The engine has as many threads from its start on.",
}


class Described(NamedTuple):
    """A setting as documentation has it; see IN_CONSOLE and ONLY_IN_FILE."""

    name: str
    default: str
    help: str
    page: str
    only_in_file: str


def describe() -> list[Described]:
    """Every setting, for the documentation and its tests; what lies in the checkout is named from there, wherever that is."""
    defaults = {one.name: str(one.default).removeprefix(f"{REPOSITORY}/") for one in fields(Settings)}
    return [
        Described(one.name, defaults[one.name], one.metadata["help"], IN_CONSOLE.get(one.name, ""), ONLY_IN_FILE.get(one.name, ""))
        for one in fields(Settings)
    ]
