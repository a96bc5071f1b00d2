"""Rates of one machine, and how full a data disk is: what pages and API say, and who may say otherwise."""

import uuid
from datetime import timedelta

import pytest

from appliance import catalog
from appliance.catalog import Account, DataDisk, DiskState, Machine, MachineState, now, policies
from appliance.services import tokens
from tests.unit.webui.conftest import Browser

pytestmark = pytest.mark.resources


@pytest.fixture
def machine(people: object) -> Machine:
    """Ada's, of a class that gives 20 Mbit/s to it."""
    ada = Account.get(Account.name == "ada")
    found = Machine.get((Machine.owner == ada) & (Machine.state == MachineState.IN_USE))
    with catalog.write():
        policies.change(found.machine_class, {"network_in": 20, "data_most": 40})
    return found


def test_an_admin_has_one_machine_be_otherwise_than_its_class(grace: Browser, machine: Machine) -> None:
    path = f"/admin/machines/{machine.id}"
    page = grace.get(path).text
    assert "<dt>Rates</dt><dd>in 20 Mbit/s</dd>" in page
    assert 'placeholder="20"' in page
    assert "Sent to a machine, at most; 0: no limit." in page  # each field has its help
    answer = grace.post(f"{path}/rates", {"network_in": "", "network_out": "7", "disk_rate": "", "disk_iops": "0"})
    assert answer.status_code == 303
    assert Machine.get_by_id(machine.number).rates == {"network_out": 7, "disk_iops": 0}
    assert "in 20 Mbit/s, out 7 Mbit/s, as was said of this machine" in grace.get(path).text

    refused = grace.post(f"{path}/rates", {"network_in": "100001", "network_out": "8", "disk_rate": "", "disk_iops": ""})
    assert refused.status_code == 400
    assert 'value="100001"' in refused.text
    assert 'aria-invalid="true"' in refused.text
    assert Machine.get_by_id(machine.number).rates == {"network_out": 7, "disk_iops": 0}

    with catalog.write():
        Machine.update(rates_in_force={"problem": "The kernel lacks ifb."}).where(Machine.id == machine.id).execute()
    assert "The kernel lacks ifb." in grace.get(path).text


def test_its_owner_may_not(ada: Browser, machine: Machine) -> None:
    assert ada.post(f"/admin/machines/{machine.id}/rates", {"network_in": "0"}).status_code in (403, 404)
    assert Machine.get_by_id(machine.number).rates == {}


def test_the_api_says_what_is_said_what_counts_and_what_is_in_force(app, machine: Machine) -> None:
    grace = catalog.Actor("grace", Account.get(Account.name == "grace").id, "127.0.0.1")
    secret = tokens.create(grace, "script", ["admin:read", "admin:machines"], 1)
    client, head = app.test_client(), {"Authorization": f"Bearer {secret}"}
    path = f"/api/v1/admin/machines/{machine.id}/rates"
    nothing = {"network_in": 0, "network_out": 0, "disk_rate": 0, "disk_iops": 0}
    found = client.get(path, headers=head).get_json()
    assert found == {"own": dict.fromkeys(nothing), "counts": nothing | {"network_in": 20}, "in_force": nothing, "problem": ""}
    for changed in (True, False):
        answer = client.put(path, headers=head, json={"network_in": 0, "disk_rate": 5})
        assert (answer.status_code, answer.get_json()["changed"]) == (200, changed)
    assert client.get(path, headers=head).get_json()["counts"] == nothing | {"disk_rate": 5}
    for wrong in ({"network_in": -1}, {"speed": 1}, {"disk_rate": "fast"}):
        assert client.put(path, headers=head, json=wrong).status_code == 400


def test_a_data_disk_tells_how_full_it_is_and_why_it_does_not_grow(ada: Browser, machine: Machine) -> None:
    with catalog.write():
        disk = DataDisk.create(
            id=str(uuid.uuid4()), account=machine.owner_id, machine_class=machine.machine_class, name="Thesis", size=20,
            state=DiskState.READY, filled=18 << 30, capacity=20 << 30, filled_at=now() - timedelta(seconds=5),
        )  # fmt: skip
    page = ada.get(f"/data-disks/{disk.id}").text
    assert "90 %" in page
    assert "up to 40 GiB" in page
    with catalog.write():
        why = "The data disk Thesis does not grow: 90 % of it is full, and the quotas of its owner leave 0 GiB."
        DataDisk.update(not_grown={"key": "quota", "at": 0, "why": why}).where(DataDisk.id == disk.id).execute()
    assert why in ada.get(f"/data-disks/{disk.id}").text
