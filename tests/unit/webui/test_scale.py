"""Pages cost the same however much there is: what they ask is found by indexes."""

import pytest

from appliance.catalog import Actor, Machine
from appliance.settings import Settings
from tests.plans import scans, statements
from tests.unit.webui.conftest import Browser

PAGES = [
    "/",
    "/admin/",
    "/admin/machines/",
    "/admin/machines/?after=7",
    "/admin/machines/?state=ready",
    "/admin/machines/?class=notebook",
    "/admin/machines/?state=failed&class=notebook",
    "/admin/machines/?retired=yes",
    "/admin/machines/{machine}",
    "/admin/events/",
    "/admin/events/?before=9",
    "/admin/events/?kind=machine",
    "/admin/events/?level=error",
    "/admin/events/?machine={machine}",
    "/admin/accounts/",
    "/admin/accounts/{account}",
    "/admin/classes/notebook",
    "/admin/seeds/",
    "/admin/settings/",
    "/admin/server/metrics/",
    "/admin/server/metrics/?span=day&as=table",
    "/search?q=notebook",
]


@pytest.mark.parametrize("page", PAGES)
def test_no_page_reads_all_there_is(grace: Browser, people: dict[str, Actor], monkeypatch: pytest.MonkeyPatch, page: str) -> None:
    machine = Machine.get(owner=people["ada"].account_id)
    with statements(monkeypatch) as seen:
        assert grace.get(page.format(machine=machine.id, account=people["ada"].account_id)).status_code == 200
    assert scans(seen) == []


def test_claim_and_door(ada: Browser, people: dict[str, Actor], opened: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine.get(owner=people["ada"].account_id)
    with statements(monkeypatch) as seen:
        assert ada.post("/request", {"class": "notebook"}).status_code == 303
        door = ada.get("/door/check", **{"X-DPE-Port": str(opened.app_port + machine.slot), "X-DPE-Uri": "/"})
        assert door.status_code == 200
    assert scans(seen) == []
