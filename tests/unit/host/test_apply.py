"""What becomes of host.json in /run, against golden files."""

from pathlib import Path
from typing import Any

import pytest

from appliance import layout
from appliance.host.interface.network import Network
from appliance.host.system import apply, config, network_trial
from appliance.host.system.config import HostConfig
from appliance.settings import load

GOLDEN = Path(__file__).parent / "golden" / "network"

CASES: dict[str, dict[str, Any]] = {
    "fresh": {},
    "one-card": {"network": {"card": "52:54:00:12:34:56"}},
    "static": {
        "network": {
            "mode": "static",
            "card": "52:54:00:12:34:56",
            "address": "192.0.2.10/24",
            "gateway": "192.0.2.1",
            "dns": ["192.0.2.1", "2001:db8::53"],
        },
        "ntp": ["ntp.example.org", "192.0.2.1"],
    },
    "lonely": {"network": {"mode": "static", "card": "eth0", "address": "192.0.2.10/30"}, "ntp_enabled": False},
}


def written(root: Path) -> str:
    found = [path for path in sorted(root.rglob("*")) if path.is_file()]
    return "".join(f"==> {path.relative_to(root)}\n{path.read_text()}\n" for path in found)


@pytest.mark.parametrize("name", CASES)
def test_files_for_systemd(name: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    apply.write_files(HostConfig.model_validate(CASES["static"]), tmp_path)  # nothing of what was before may stay
    apply.write_files(HostConfig.model_validate(CASES[name]), tmp_path)
    golden = GOLDEN / f"{name}.txt"
    if request.config.getoption("--regenerate"):
        golden.parent.mkdir(parents=True, exist_ok=True)
        golden.write_text(written(tmp_path))
    assert written(tmp_path) == golden.read_text()


def test_at_boot_a_trial_is_forgotten_and_the_old_network_written(tmp_path: Path) -> None:
    settings = load({}, state=tmp_path / "s")
    layout.prepare(settings)
    with config.change(settings) as host:
        host.network = Network.model_validate(CASES["lonely"]["network"])
    network_trial.begin_trial(
        settings, Network.model_validate(CASES["static"]["network"]), "grace", pause=0, seconds=90, now=network_trial.clock()
    )
    apply.boot(settings, tmp_path / "root")
    assert "192.0.2.10/30" in (tmp_path / "root/run/systemd/network/10-dpe.network").read_text()
    ended = network_trial.last(settings)
    assert ended is not None
    assert (ended.state, network_trial.current(settings)) == (network_trial.BACK, None)


def test_at_boot_a_broken_file_gives_a_network_all_the_same(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    settings = load({}, state=tmp_path / "s")
    layout.prepare(settings)
    config.file(settings).write_text("{")
    (settings.host / "network-trial.json").write_text("{")
    apply.boot(settings, tmp_path / "root")
    assert "DHCP=yes" in (tmp_path / "root/run/systemd/network/10-dpe.network").read_text()
    assert "by DHCP" in caplog.text
