from pathlib import Path

import pytest

from appliance.errors import BadInput
from appliance.settings import Settings, environment, load


def test_environment_wins_over_file_and_file_over_default(tmp_path: Path) -> None:
    (tmp_path / "settings.toml").write_text('https_port = 9443\nnetwork = "lab"\nemulate = true\n')
    found = load({"DPE_STATE": str(tmp_path), "DPE_NETWORK": "other", "DPE_UNKNOWN": "ignored", "HOME": "/root"})
    assert (found.state, found.https_port, found.network, found.emulate, found.slots) == (tmp_path, 9443, "other", True, Settings.slots)
    assert load({"DPE_STATE": str(tmp_path)}, https_port=1443).https_port == 1443


def test_what_one_process_loaded_another_loads_again(tmp_path: Path) -> None:
    found = load({}, state=tmp_path, names="a.example,b.example", emulate=True, slots=7)
    assert load(environment(found)) == found


@pytest.mark.fresh
def test_a_relative_path_starts_where_the_appliance_was_started_and_in_the_file_at_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "here").mkdir()
    (tmp_path / "here/settings.toml").write_text('backup_folder = "copies"\nscenario = "unused"\n')
    found = load({"DPE_STATE": "here", "DPE_SCENARIO": "tests/small", "DPE_SHIPPED_SEEDS": "../seeds"})
    assert (found.state, found.scenario) == (tmp_path / "here", tmp_path / "tests/small")
    assert found.backups == tmp_path / "here/copies"
    monkeypatch.chdir("/")
    assert load(environment(found)) == found
    assert all(value.is_absolute() for value in vars(found).values() if isinstance(value, Path))
    assert load({}, state=tmp_path).backups == tmp_path / "backups"


@pytest.mark.parametrize(("text", "value"), [("1", True), ("Yes", True), ("off", False), ("", False)])
def test_yes_and_no(text: str, value: bool, tmp_path: Path) -> None:
    assert load({"DPE_EMULATE": text}, state=tmp_path).emulate is value


@pytest.mark.badinput
@pytest.mark.parametrize(
    ("environ", "named"),
    [
        ({"DPE_HTTPS_PORT": "many"}, "https_port"),
        ({"DPE_EMULATE": "perhaps"}, "emulate"),
        ({"DPE_SUBNET": "10.0.0.1/8"}, "subnet"),
        ({"DPE_UPLINK": "169.254.1.0/31"}, "uplink"),
        ({"DPE_SUBNET": "10.0.0.0/26"}, "slots"),
        ({"DPE_APP_PORT": "65500"}, "app_port"),
        ({"DPE_HTTPS_PORT": "9001"}, "https_port"),
        ({"DPE_NETWORK": "much too long"}, "network"),
        ({"DPE_SESSION_IDLE": "10"}, "session_idle"),
        ({"DPE_SESSION_LONGEST": "3600"}, "session_longest"),
    ],
)
def test_a_wrong_value_is_named_with_a_way_out(environ: dict[str, str], named: str, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=named) as caught:
        load(environ, state=tmp_path)
    assert caught.value.hint


@pytest.mark.badinput
@pytest.mark.parametrize(
    ("text", "said"), [("https_prot = 1\n", "https_prot"), ("https_port 1\n", "not valid TOML"), ('slots = "many"\n', "slots")]
)
def test_a_wrong_file_is_named(text: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "settings.toml").write_text(text)
    with pytest.raises(BadInput, match=said):
        load({}, state=tmp_path)


def test_every_machine_has_an_address_of_its_own_that_is_not_the_gateway(tmp_path: Path) -> None:
    found = load({}, state=tmp_path)
    addresses = {found.address(slot) for slot in range(found.slots)}
    assert len(addresses) == found.slots
    assert found.gateway not in addresses


@pytest.mark.parametrize(
    ("environ", "further", "pages"),
    [
        ({}, range(9250, 10000), 4),
        ({"DPE_HTTPS_PORT": "9443"}, range(9444, 10194), 4),  # an appliance that is served there goes on
        ({"DPE_SLOTS": "10000"}, range(19000, 29000), 2),  # as many as there are ports for
        ({"DPE_APP_PORT": "65200"}, range(65450, 65450), 1),
    ],
)
def test_further_pages_of_machines_have_ports_that_are_nothing_else_s(
    environ: dict[str, str], further: range, pages: int, tmp_path: Path
) -> None:
    found = load(environ, state=tmp_path)
    assert (found.doors[1], found.pages) == (further, pages)
    ports = [found.port(page, door) for page in range(found.pages) for door in range(found.slots)]
    assert len(set(ports)) == len(ports)
    assert found.https_port not in ports
    assert [found.behind(port) for port in ports] == [(page, door) for page in range(found.pages) for door in range(found.slots)]
    assert found.behind(max(ports) + 1) is None
