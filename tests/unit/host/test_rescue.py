"""Who may rescue, and the copies of the catalog: with catalogs that are whole, and with every kind that is not."""

import json
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from appliance import catalog
from appliance.catalog import Account, Grant, Group, Member, SecondFactor, now, options, rescue_owners
from appliance.errors import Conflict, NotFound, Unavailable
from appliance.host.backup import catalog_copies
from appliance.host.console import rescue
from appliance.host.rpc.registry import Host
from appliance.host.system import image
from appliance.settings import Settings
from tests import world
from tests.unit.conftest import account


@pytest.fixture(autouse=True)
def elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(image, "boot_image", lambda: None)


@pytest.fixture
def grace(opened: Settings) -> Account:
    """An owner, of an appliance that is set up."""
    world.set_up("Hillside School")
    found: Account = Account.get_by_id(world.account("grace", is_admin=True).account_id)
    return found


def names(settings: Settings) -> list[str]:
    return [owner.name for owner in rescue.kept(settings).owners]


def test_owners_are_kept_where_the_rescue_page_reads_them(opened: Settings, grace: Account) -> None:
    account("ada")  # no owner
    account("from-directory", is_admin=True)  # an owner, but no password of ours
    with catalog.write():
        team = Group.create(name="admins", about="")
        Grant.create(role="owner", group=team.id)
        Member.create(group=team.id, account=world.account("heidi").account_id)
    rescue.write_rescue(opened)
    assert names(opened) == ["grace", "heidi"]
    kept = rescue.kept(opened)
    assert (kept.title, kept.setup_code) == ("Hillside School", "")
    assert kept.owners[0].password == grace.password
    assert rescue.file(opened).stat().st_mode & 0o777 == 0o640
    assert rescue.file(opened).parent.stat().st_mode & 0o777 == 0o750


def test_what_changes_in_the_catalog_changes_there(opened: Settings, grace: Account) -> None:
    rescue.write_rescue(opened)
    written = rescue.file(opened).stat().st_mtime_ns
    rescue.write_rescue(opened)
    assert rescue.file(opened).stat().st_mtime_ns == written
    with catalog.write():
        SecondFactor.create(account=grace.id, secret="JBSWY3DPEHPK3PXP", step=7, confirmed_at=now())
        world.account("heidi", is_admin=True)
    rescue.write_rescue(opened)
    kept = rescue.kept(opened).owners
    assert [(one.name, one.secret, one.step) for one in kept] == [("grace", "JBSWY3DPEHPK3PXP", 7), ("heidi", "", 0)]
    with catalog.write():
        Account.update(disabled=True).where(Account.id == grace.id).execute()
    rescue.write_rescue(opened)
    assert names(opened) == ["heidi"]


def test_before_set_up_the_setup_code_is_kept(opened: Settings) -> None:
    with catalog.write():
        options.put("setup_code", "ab" * 32)
    rescue.write_rescue(opened)
    assert rescue.kept(opened) == rescue_owners.Keys((), "ab" * 32, "")


def missing(path: Path) -> None:
    for ending in ("", "-wal", "-shm"):
        path.with_name(path.name + ending).unlink(missing_ok=True)


def empty(path: Path) -> None:
    missing(path)
    path.touch()


def no_database(path: Path) -> None:
    missing(path)
    path.write_bytes(b"\x89PNG no database at all" * 400)


def torn(path: Path) -> None:
    shutil.copyfile(path, whole := path.with_suffix(".copy"))
    missing(path)
    content = bytearray(whole.read_bytes())
    content[4096:] = b"\xa5" * (len(content) - 4096)
    path.write_bytes(content)


def short(path: Path) -> None:
    shutil.copyfile(path, whole := path.with_suffix(".copy"))
    missing(path)
    path.write_bytes(whole.read_bytes()[:5000])


def folder(path: Path) -> None:
    missing(path)
    path.mkdir()


def other(path: Path) -> None:
    missing(path)
    connection = sqlite3.connect(path)
    connection.executescript(
        "CREATE TABLE option (name, value); INSERT INTO option VALUES ('title', '{broken'); PRAGMA user_version = 9999;"
    )
    connection.close()


DAMAGE = [missing, empty, no_database, torn, short, folder, other]


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_catalog_that_cannot_be_read_takes_nobody_away(opened: Settings, grace: Account, damage: Callable[[Path], None]) -> None:
    rescue.write_rescue(opened)
    with sqlite3.connect(opened.catalog) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()
    catalog.close()
    damage(opened.catalog)
    with pytest.raises(Unavailable, match="cannot be read"):
        rescue_owners.read_owners(opened.catalog)
    rescue.write_rescue(opened)
    assert names(opened) == ["grace"]


def test_a_catalog_that_somebody_holds_takes_nobody_away(opened: Settings, grace: Account, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rescue_owners, "PATIENCE", 0.1)
    rescue.write_rescue(opened)
    catalog.close()
    holder = sqlite3.connect(opened.catalog, isolation_level=None)
    holder.execute("PRAGMA locking_mode=exclusive")
    holder.execute("BEGIN EXCLUSIVE")
    holder.execute("UPDATE account SET disabled = 1")
    try:
        rescue.write_rescue(opened)
    finally:
        holder.execute("ROLLBACK")
        holder.close()
    assert names(opened) == ["grace"]


def test_a_fresh_catalog_in_place_of_a_lost_one_takes_nobody_away(opened: Settings, grace: Account) -> None:
    rescue.write_rescue(opened)
    catalog.close()
    missing(opened.catalog)
    catalog.open(opened.catalog)  # as the engine would
    rescue.write_rescue(opened)
    assert names(opened) == ["grace"]


def test_a_catalog_of_a_newer_appliance_still_says_who_may_rescue(opened: Settings, grace: Account) -> None:
    catalog.close()
    connection = sqlite3.connect(opened.catalog)
    connection.execute("PRAGMA user_version = 9999")
    connection.close()
    rescue.write_rescue(opened)
    assert names(opened) == ["grace"]


@pytest.mark.parametrize("content", ["", "{", "[]", '{"owners": [{"name": 1}]}', '{"owners": null}', '{"owners": [], "title": ""}'])
def test_a_broken_file_of_owners_is_nobody_and_is_written_anew(opened: Settings, grace: Account, content: str) -> None:
    rescue.file(opened).parent.mkdir()
    rescue.file(opened).write_text(content)
    assert names(opened) == []
    rescue.write_rescue(opened)
    assert names(opened) == ["grace"]


# -- copies ----


def title(settings: Settings) -> str:
    connection = sqlite3.connect(settings.catalog)
    found = json.loads(connection.execute("SELECT value FROM option WHERE name = 'title'").fetchone()[0])
    connection.close()
    return str(found)


def test_a_copy_a_day_of_what_is_set_up_and_three_are_kept(opened: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    catalog_copies.make_copy(opened)
    assert catalog_copies.everything(opened) == []
    world.set_up()
    world.account("grace", is_admin=True)
    catalog_copies.make_copy(opened)
    catalog_copies.make_copy(opened)
    first = catalog_copies.everything(opened)
    assert len(first) == 1
    for day in range(1, 5):
        (catalog_copies.folder(opened) / f"2026010{day}-000000.db").touch()
    monkeypatch.setattr(catalog_copies, "DAILY", catalog_copies.timedelta(0))
    catalog_copies.make(opened)
    assert len(catalog_copies.everything(opened)) == catalog_copies.KEPT
    assert list(catalog_copies.folder(opened).glob("*.new")) == []


@pytest.mark.parametrize("damage", [*DAMAGE[:3], *DAMAGE[4:]])
def test_a_copy_is_put_back_and_the_damaged_one_is_kept_aside(opened: Settings, grace: Account, damage: Callable[[Path], None]) -> None:
    copy = catalog_copies.make(opened)
    with catalog.write():
        options.put("title", "Later")
    catalog.close()
    damage(opened.catalog)
    aside = catalog_copies.put_back(opened, copy.name, Host(opened))
    assert title(opened) == "Hillside School"
    assert (damage is missing) == (not list(Path(aside).iterdir()))
    catalog.open(opened.catalog)
    assert catalog.check() == []


def test_a_damaged_copy_is_refused_and_changes_nothing(opened: Settings, grace: Account) -> None:
    copy = catalog_copies.make(opened)
    no_database(catalog_copies.folder(opened) / f"{copy.name}.db")
    with pytest.raises(Unavailable, match="damaged"):
        catalog_copies.put_back(opened, copy.name, Host(opened))
    assert title(opened) == "Hillside School"
    with pytest.raises(NotFound):
        catalog_copies.put_back(opened, "20200101-000000", Host(opened))
    empty(catalog_copies.folder(opened) / f"{copy.name}.db")
    with pytest.raises(Conflict, match="version 0"):
        catalog_copies.put_back(opened, copy.name, Host(opened))


def test_a_damaged_catalog_is_not_copied_over_good_copies(opened: Settings, grace: Account) -> None:
    copy = catalog_copies.make(opened)
    catalog.close()
    no_database(opened.catalog)
    with pytest.raises(Unavailable):
        catalog_copies.make(opened)
    assert catalog_copies.everything(opened) == [copy]


def test_no_link_in_the_web_process_folder_is_followed(opened: Settings, grace: Account, tmp_path: Path) -> None:
    copy = catalog_copies.make(opened)
    catalog.close()
    missing(opened.catalog)
    (victim := tmp_path / "victim").write_text("precious")
    opened.catalog.symlink_to(victim)
    opened.catalog.with_suffix(".new").symlink_to(victim)
    catalog_copies.put_back(opened, copy.name, Host(opened))
    assert victim.read_text() == "precious"
    assert not opened.catalog.is_symlink()
    assert title(opened) == "Hillside School"
