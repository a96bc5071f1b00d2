"""The image's units, as systemd reads them, and the host's own rules. That they work is seen in the booted image (tests/image)."""

import json
import re
import shutil
import socket
import subprocess
from configparser import ConfigParser
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from appliance import sd_notify, supervisor
from appliance.access import nginx
from appliance.balance import haproxy
from appliance.host.system import processes
from appliance.hypervisor.providers import provider_service
from appliance.run import run
from appliance.settings import REPOSITORY, Settings, load

FILES = REPOSITORY / "image-build/files"
UNITS = FILES / "usr/lib/systemd/system"
PRODUCT = "/usr/lib/dpe"
# systemd 252, Debian 12's, does not know yet what 254 brought.
NEWER = ("RestartSteps", "RestartMaxDelaySec")


class Unit(ConfigParser):
    """A unit's file; a key that stands there more than once has its values joined by a space."""

    def __init__(self, name: str) -> None:
        super().__init__(interpolation=None, strict=False)
        self.optionxform = str  # type: ignore[assignment, method-assign]
        merged: dict[str, dict[str, str]] = {}
        section: dict[str, str] = {}
        for line in (UNITS / name).read_text().splitlines():
            if line.startswith("["):
                section = merged.setdefault(line.strip("[]"), {})
            elif line and not line.startswith("#"):
                key, _, value = line.partition("=")
                section[key] = f"{section[key]} {value}" if key in section else value
        self.read_dict(merged)

    def list(self, section: str, key: str) -> list[str]:
        return self.get(section, key, fallback="").split()


def services() -> list[str]:
    return sorted(file.name for file in UNITS.glob("dpe-*.service"))


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The image as far as systemd-analyze looks at it: our files, systemd's own units, and a program wherever a unit starts one."""
    root = tmp_path_factory.mktemp("tree")
    shutil.copytree(FILES, root, symlinks=True, dirs_exist_ok=True)
    for unit in Path("/usr/lib/systemd/system").glob("*.*"):
        if not (UNITS / unit.name).exists() and unit.is_file():
            shutil.copy(unit, root / "usr/lib/systemd/system", follow_symlinks=True)
    programs = {command.lstrip("+-") for name in services() for command in _programs(name)}
    for program in programs:
        (root / program.lstrip("/")).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy("/bin/true", root / program.lstrip("/"))
    (root / "bin").exists() or (root / "bin").symlink_to("usr/bin")
    return root


def _programs(name: str) -> list[str]:
    return [line.split("=", 1)[1].split()[0] for line in (UNITS / name).read_text().splitlines() if line.startswith("Exec")]


def test_every_process_has_a_unit_that_is_started() -> None:
    started = Unit("dpe.target").list("Unit", "Wants")
    for part, (_, names) in processes.PARTS.items():
        assert set(names) <= set(started), part
        for name in names:
            assert (UNITS / name).exists(), name
    for name in started:
        assert (UNITS / re.sub("@.*[.]", "@.", name)).exists(), name


@pytest.mark.linter
def test_systemd_has_nothing_to_object_to(tree: Path) -> None:
    folder = tree / "usr/lib/systemd/system"
    files = sorted(str(file) for pattern in ("dpe*.*",) for file in folder.glob(pattern) if file.is_file())
    done = subprocess.run(["systemd-analyze", "verify", "--man=no", f"--root={tree}", *files], capture_output=True, text=True)
    said = [line for line in done.stderr.splitlines() if not re.search(f"Unknown key.* '({'|'.join(NEWER)})'", line)]
    assert said == []


def test_what_units_start_is_there_and_is_what_make_run_starts() -> None:
    for name in services():
        for line in (UNITS / name).read_text().splitlines():
            if not line.startswith("Exec") or f"{PRODUCT}/.venv/bin/python" not in line:
                continue
            module = re.search(r" -m (\S+)", line)
            assert module, line
            assert find_spec(module[1]), f"{name}: {module[1]}"
    shipped = load({}, state=Path("/var/lib/dpe"))
    door = Unit("dpe-nginx.service")["Service"]["ExecStart"]
    assert door == "/usr/sbin/" + " ".join(map(str, nginx.command(shipped)))
    web = Unit("dpe-web.service")["Service"]["ExecStart"].split()
    config = web[-1].removeprefix(f"{PRODUCT}/")
    assert web[2:-1] == ["gunicorn", "--config"]
    source = Path(supervisor.__file__).read_text()
    assert f'self.checkout / "{config}"' in source
    service = provider_service(shipped)
    assert service is not None
    assert Unit(f"dpe-{service.name}.service")["Service"]["ExecStart"].split()[1:] == [*service.command[1:]]
    for module in ("appliance.host.rpc.daemon", "appliance.engine"):
        assert f'"-m", "{module}"]' in source
        assert any(f" -m {module}\n" in (UNITS / name).read_text() for name in services())


def test_sockets_are_where_nginx_looks_for_them() -> None:
    shipped = load({}, state=Path("/var/lib/dpe"))
    paths = {"web": [nginx.socket_path(shipped), nginx.door_path(shipped)]}
    paths |= {"relay": [nginx.relay_path(shipped)], "console": [nginx.console_path(shipped)], "rescue": [nginx.rescue_path(shipped)]}
    for name, listened in paths.items():
        socket = Unit(f"dpe-{name}.socket")["Socket"]
        lines = (UNITS / f"dpe-{name}.socket").read_text().splitlines()
        assert [line for line in lines if line.startswith("ListenStream=")] == [f"ListenStream={path}" for path in listened]
        assert (socket["SocketUser"], socket["SocketGroup"], socket["SocketMode"]) == ("root", nginx.USER, "0660")


def test_users_of_units_are_made_by_setup() -> None:
    made = set(re.findall(r"^make_user (\S+)$", (REPOSITORY / "image-build/setup.sh").read_text(), re.MULTILINE))
    used = {Unit(name).get("Service", "User", fallback="root") for name in services()}
    assert used <= made | {"root", haproxy.USER}  # which comes with its package
    assert {"dpe-web", "dpe-rescue"} <= used


@pytest.mark.parametrize("part", list(processes.PARTS))
def test_what_dies_is_started_again_with_pauses_and_takes_no_more_than_its_share(part: str) -> None:
    service = Unit(f"dpe-{part}.service")["Service"]
    assert service["Restart"] == "always"
    assert Unit(f"dpe-{part}.service")["Unit"]["StartLimitIntervalSec"] == "0"  # it never gives up
    if part in ("web", "relay", "console", "haproxy", "nginx", "rescue"):  # people wait for them
        assert (service["RestartSec"], "RestartMaxDelaySec" in service) == ("1", False)
    else:
        assert int(service["RestartSec"]) < int(service["RestartMaxDelaySec"])
    if part != "libvirtd":  # which has machines in its own
        assert service["Slice"] == "dpe.slice"
        assert {"MemoryMin", "MemoryMax", "TasksMax"} <= set(service)


def test_machines_come_after_the_pages_and_outlive_their_libvirtd() -> None:
    libvirtd, machines, ours = Unit("dpe-libvirtd.service")["Service"], Unit("dpe-machines.slice")["Slice"], Unit("dpe.slice")["Slice"]
    assert (libvirtd["Slice"], libvirtd["KillMode"], libvirtd["OOMPolicy"]) == ("dpe-machines.slice", "process", "continue")
    kept = 0
    for part in set(processes.PARTS) - {"libvirtd"}:
        service = Unit(f"dpe-{part}.service")["Service"]
        assert int(service["CPUWeight"]) >= 10 * int(machines["CPUWeight"]), part
        kept += _mebibytes(service["MemoryMin"])
    assert kept <= _mebibytes(ours["MemoryMin"])  # else none of them would have its own
    assert machines["MemoryMin"] == "0"
    assert Unit("dpe-park.service")["Service"]["ExecStop"].endswith("-m appliance.engine --park")
    assert "dpe-libvirtd.service" in Unit("dpe-park.service").list("Unit", "After")
    assert "dpe-park.service" in Unit("dpe-engine.service").list("Unit", "After")


def _mebibytes(text: str) -> int:
    return int(text[:-1]) * {"M": 1, "G": 1024}[text[-1]]


def figures() -> dict[str, float]:
    told = (REPOSITORY / "image-build/README.md").read_text()
    return {name: float(most) for name, most in re.findall(r"^\| `(dpe-[a-z]+)` \| ([\d.]+) \|", told, re.MULTILINE)}


@pytest.mark.linter
def test_no_unit_is_more_exposed_than_the_readme_says(tree: Path) -> None:
    assert {f"dpe-{part}" for part in processes.PARTS} <= figures().keys()
    for name, most in figures().items():
        command = ["systemd-analyze", "security", "--offline=true", f"--root={tree}", "--json=short", "--no-pager", f"{name}.service"]
        # The sum is in no JSON, the weights of all findings are; the last line of the table is what people know.
        said = run([word for word in command if word != "--json=short"])
        found = re.search(r"exposure level for \S+: ([\d.]+)", said)
        assert found, said
        assert float(found[1]) <= most, f"{name} is at {found[1]}"
    for name in ("dpe-web", "dpe-relay", "dpe-console", "dpe-rescue", "dpe-nginx"):
        assert figures()[name] < 2.5


@pytest.mark.linter
def test_the_firewall_is_read_by_nft_and_opens_the_doors_alone() -> None:
    rules = FILES / "etc/nftables.conf"
    run(["unshare", "--net", "nft", "--check", "--file", rules])
    listed = json.loads(run(["unshare", "--net", "sh", "-c", f"nft -f {rules} && nft -j list ruleset"]))["nftables"]
    chains = {entry["chain"]["name"]: entry["chain"] for entry in listed if "chain" in entry}
    assert {name: chain["policy"] for name, chain in chains.items()} == {"input": "drop", "forward": "drop"}
    image = Settings()
    environ = dict(line.split("=", 1) for line in _environment().splitlines() if line.startswith("DPE_"))
    port = int(environ.get("DPE_HTTPS_PORT", image.https_port))
    doors = next(entry["set"] for entry in listed if "set" in entry)
    last = image.app_port + image.slots - 1
    assert doors["elem"] == [port, image.ssh_port, {"range": [image.app_port, last]}]
    assert f'"{image.network}-out"' in rules.read_text()
    accepted: list[Any] = [entry["rule"]["expr"] for entry in listed if "rule" in entry and {"accept": None} in entry["rule"]["expr"]]
    ports = [match["match"]["right"] for expr in accepted for match in expr if "dport" in json.dumps(match)]
    assert ports == ["@doors", 68, 546]


def _environment() -> str:
    """What the image's settings say, which its build writes."""
    file = FILES / "etc/dpe/environment"
    return file.read_text() if file.exists() else "DPE_HTTPS_PORT=443\n"


@pytest.mark.linter
def test_the_profile_of_machines_is_read_and_names_no_secret_of_ours(settings: Settings) -> None:
    profile = FILES / "etc/apparmor.d/dpe-qemu"
    run(["apparmor_parser", "--skip-kernel-load", "--skip-cache", "--quiet", profile])
    allowed = "\n".join(line for line in profile.read_text().splitlines() if not line.strip().startswith("#"))
    for kept in ("catalog", "tls", "web-secret", "setup-code", "kept", "backups", "updates", "cache/"):
        assert f"@{{dpe}}/{kept}" not in allowed, kept
    assert not re.search(r"@\{dpe\}/(\*|\{)", allowed)  # each folder by its name
    for folder in (settings.machines, settings.data, settings.seeds, settings.libvirt):
        assert f"@{{dpe}}/{folder.name}/" in allowed
    writable = re.findall(r"@\{dpe\}/seeds/\S* (\w+),", allowed)
    assert all("w" not in modes for modes in writable)


def test_systemd_hears_what_it_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    sd_notify.notify(sd_notify.READY)  # nobody listens
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as line:
        line.bind(str(tmp_path / "notify"))
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        sd_notify.notify(sd_notify.READY)
        assert line.recv(64) == b"READY=1"
