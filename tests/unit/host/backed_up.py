"""A small appliance that can be backed up: one person, one class, no machines and no data disks, so that it needs no engine."""

from pathlib import Path

from appliance import catalog, layout
from appliance.catalog import Account, Class, Grant, options
from appliance.settings import Settings, load
from tests.seeds import SMALL, small_scenario


def small_appliance(state: Path) -> Settings:
    """Its settings; the catalog is closed again."""
    settings = load({}, state=state, scenario=SMALL, network="lost")
    layout.prepare(settings)
    catalog.open(settings.catalog)
    with catalog.write():
        options.put("setup_done", True)
        options.put("scenario", {"name": "small", "title": "Small", "description": ""})
        spec = small_scenario().classes["small"].model_dump(mode="json")
        Class.create(
            name="small", spec=spec, minimum=0, maximum=1, buffer=0, lease_minutes=60, extend_minutes=30, extensions=1, per_person=1
        )
        ada = Account.create(name="ada", password="!")
        Grant.create(role="owner", account=ada.id)
    catalog.close()
    return settings
