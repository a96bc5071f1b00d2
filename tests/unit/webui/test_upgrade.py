"""An appliance of 410fb78 after its update: what that version left behind, as text in tests/upgrades/, under the code of today."""

import json
import shutil
import sqlite3
from collections.abc import Iterator

import pytest
from flask import Flask

from appliance import catalog
from appliance.catalog import Account, Actor, Class, Event, OrgUnit, Seed, Snapshot, WorkItem, database, options, sequences
from appliance.host.backup.appliance_backup import Manifest
from appliance.identity import permissions, secrets
from appliance.outbound import webhook
from appliance.scenario.load import load as load_scenario
from appliance.services import mail
from appliance.services.scenario_adoption import adopt_scenario
from appliance.settings import REPOSITORY, Settings, environment
from appliance.workflow import load as load_sequences
from appliance.workflow import sequence
from tests.unit.webui.conftest import HOST, Browser
from webui import create_app
from webui.live import hub

LEFT = REPOSITORY / "tests/upgrades/410fb78"


@pytest.fixture
def opened(settings: Settings) -> Iterator[Settings]:
    """The catalog that was left behind, opened, and so migrated, by the code of today."""
    old = sqlite3.connect(settings.catalog)
    old.executescript((LEFT / "catalog.sql").read_text())
    old.close()
    shutil.copy(LEFT / "web-secret", settings.web_secret)
    catalog.open(settings.catalog)
    secrets.open(settings.web_secret)
    yield settings
    catalog.close()


@pytest.fixture
def app(opened: Settings) -> Flask:
    hub.stopping = lambda: False
    return create_app(opened)


@pytest.fixture
def grace(app: Flask) -> Browser:
    browser = Browser(app.test_client())
    assert browser.sign_in("grace").status_code == 303, "the password is what it was"
    return browser


def test_a_copy_of_the_catalog_is_left_beside_it(opened: Settings) -> None:
    assert (opened.catalog.parent / "catalog-v6.db").exists()
    assert database.rows("PRAGMA user_version")[0][0] == catalog.versions()[-1]


def test_seeds_and_snapshots_are_known_by_their_names(settings: Settings) -> None:
    """They were known by where their files lay."""
    old, seeds = sqlite3.connect(settings.catalog), "/var/lib/dpe/seeds"
    old.executescript((LEFT / "catalog.sql").read_text())
    files = {"disk": f"{seeds}/notebook/2/disk.qcow2", "kernel": f"{seeds}/notebook/2/vmlinuz", "cmdline": "root=/dev/vda quiet"}
    old.execute("UPDATE seed SET files = ? WHERE id = 2", (json.dumps(files),))
    old.execute("UPDATE snapshot SET folder = ? WHERE id = 2", (f"{seeds}/notebook/2/snapshot-7",))
    old.commit()
    old.close()
    catalog.open(settings.catalog)
    seed, without = Seed.get_by_id(2), Seed.get_by_id(1)
    assert (seed.name, seed.stored, seed.cmdline, seed.manifest["os"]) == ("notebook/2", True, "root=/dev/vda quiet", "debian-13")
    assert (without.name, without.stored, without.cmdline) == ("notebook/1", False, "")
    assert {snapshot.id: snapshot.name for snapshot in Snapshot.select()} == {1: "", 2: "notebook/2/snapshot-7", 3: "studio/1/snapshot"}
    catalog.close()


def test_people_have_what_they_had(app: Flask) -> None:
    ada = Browser(app.test_client())
    assert ada.sign_in("ada").status_code == 303
    page = ada.get("/").text
    assert "notebook-" in page
    assert "Give back" in page


def test_who_may_what_is_as_it_was(opened: Settings) -> None:
    actor = {account.name: Actor(account.name, account.id, "") for account in Account.select()}
    for name, class_name, wanted in (
        ("grace", "studio", True),
        ("mary", "studio", True),
        ("mary", "notebook", False),
        ("ada", "studio", False),
    ):
        assert permissions.may(actor[name], "classes.manage", "class", class_name) is wanted, name
    assert {unit.name for unit in OrgUnit.select()} >= {"Science", "Mathematics", "Workshop"}


@pytest.mark.parametrize(
    "page", ["", "classes/", "machines/", "seeds/", "events/", "workflow/runs/", "accounts/", "server/", "grants/", "quotas/"]
)
def test_every_section_opens_for_an_admin(grace: Browser, page: str) -> None:
    answer = grace.get(f"/admin/{page}")
    assert answer.status_code == 200 or (answer.status_code == 308 and grace.get(answer.location).status_code == 200)


def test_events_of_before_are_found_by_their_filters(grace: Browser) -> None:
    for event in Event.select():
        catalog.EventKind(event.kind)  # each is declared
    assert "Seed studio v2 failed" in grace.get("/admin/events/?kind=seed").text


def test_a_token_of_before_is_good(app: Flask) -> None:
    token = (LEFT / "token").read_text().strip()
    answer = app.test_client().get("/api/v1/machines", base_url=HOST, headers={"Authorization": f"Bearer {token}"})
    assert answer.status_code == 200
    assert answer.get_json()


def test_what_an_admin_changed_of_a_class_stays(opened: Settings) -> None:
    notebook, studio = Class.get_by_id("notebook"), Class.get_by_id("studio")
    assert (notebook.buffer, notebook.maximum, notebook.per_person) == (5, 24, 2)
    assert (studio.sequence, studio.idle_minutes, studio.idle_then, studio.fork, studio.readiness) == (
        "asking",
        45,
        "suspend",
        False,
        "cold",
    )
    adopt_scenario(load_scenario(LEFT / "notebook").scenario)
    assert Class.get_by_id("notebook").buffer == 5
    assert 5 in Class.get_by_id("notebook").overrides.values(), "an admin said so, and not the scenario"


def test_the_scenario_of_before_is_one_of_today() -> None:
    loaded = load_scenario(LEFT / "notebook")
    assert list(loaded.scenario.classes) == ["notebook"]


def test_sequences_of_before_are_followed_and_their_files_imported(opened: Settings) -> None:
    promoted = sequences.promoted("asking")
    assert promoted is not None
    file = LEFT / "asking.yml"
    assert sequence.dump(load_sequences.load(file).moves) == promoted.body


def test_what_waits_for_people_still_waits(app: Flask) -> None:
    assert WorkItem.select().where(WorkItem.state == "open").count() == 1
    mary = Browser(app.test_client())
    assert mary.sign_in("mary").status_code == 303
    assert "Ada Lovelace" in mary.get("/todo/").text


def test_secrets_are_read_with_the_key_of_before(opened: Settings) -> None:
    assert secrets.unseal(mail.PURPOSE, options.get("mail")["password"]) == "the mail password"
    assert (LEFT / "hook-secret").read_text().strip() in webhook.known_secrets()


def test_a_backup_of_before_is_read() -> None:
    manifest = Manifest.model_validate_json((LEFT / "manifest.json").read_text())
    assert (manifest.schema_version, manifest.people, manifest.seeds) == (6, 4, ["notebook/2"])


def test_every_setting_of_before_is_one_today(settings: Settings) -> None:
    assert set((LEFT / "settings").read_text().split()) <= set(environment(settings))
