"""The catalog: its migrations, its durability settings, and what it refuses by itself."""

import sqlite3
import threading
from pathlib import Path

import pytest

from appliance import catalog
from appliance.catalog import Actor, Lease, MachineState, aside, database, machines, models, ssh_keys
from appliance.errors import Conflict, Unavailable
from appliance.services import machines as verbs


def at_version(path: Path, version: int) -> None:
    """A catalog as an appliance of that version left it, with a row in it where there is a table for one."""
    connection = sqlite3.connect(path, isolation_level=None)
    for number in (known for known in database.versions() if known <= version):
        connection.executescript((database.MIGRATIONS / f"{number:04}.sql").read_text())
    connection.execute(f"PRAGMA user_version = {version}")
    if version:
        connection.execute("INSERT INTO account (name, password, created_at) VALUES ('kept', '!', '2026-01-01T00:00:00.000000+00:00')")
    connection.close()


@pytest.mark.parametrize("version", [0, *database.versions()])
def test_every_older_catalog_is_brought_forward(tmp_path, version):
    path = tmp_path / "catalog.db"
    at_version(path, version)
    catalog.open(path)
    assert database.rows("PRAGMA user_version") == [(database.versions()[-1],)]
    assert catalog.check() == []
    if version:
        assert catalog.Account.get(catalog.Account.name == "kept").password == "!"
    copies = list(tmp_path.glob("catalog-v*.db"))
    assert bool(copies) == (0 < version < database.versions()[-1])
    catalog.close()


def test_what_something_set_aside_lies_on_is_known_by_its_name(tmp_path):
    """Until version 16 it was the path of a disk."""
    path, seeds = tmp_path / "catalog.db", '/srv/a "b"/seeds'
    at_version(path, 15)
    disks = ["", f"{seeds}/small/3/disk.qcow2", f"{seeds}/seeds/1/snapshot-2/disk.qcow2"]
    connection = sqlite3.connect(path)
    for number, disk in enumerate(disks):
        connection.execute("INSERT INTO aside (kind, id, base, found_at) VALUES ('machine', ?, ?, '2026-01-01')", (str(number), disk))
    connection.commit()
    connection.close()
    catalog.open(path)
    assert [row[0] for row in database.rows("SELECT base FROM aside ORDER BY number")] == ["", "small/3", "seeds/1/snapshot-2"]
    found = {name: aside.is_base(name) for name in ("small/3", "small", "small/33", "seeds/1", "seeds/1/snapshot-2", "seeds/1/snapshot-22")}
    assert {name for name, lies in found.items() if lies} == {"small/3", "small", "seeds/1", "seeds/1/snapshot-2"}
    catalog.close()


def test_keys_that_were_lines_are_rows(tmp_path):
    """Until version 30 an account had them in one text, as people had pasted them."""
    path = tmp_path / "catalog.db"
    at_version(path, 23)
    connection = sqlite3.connect(path)
    connection.execute(
        "UPDATE account SET ssh_keys = ?", ("ssh-ed25519 AAAA\tof my  laptop\r\n\nssh-rsa   BBBB\nssh-ed25519 AAAA again\nhello\n",)
    )
    connection.commit()
    connection.close()
    catalog.open(path)
    [who] = catalog.Account.select()
    assert ssh_keys.text(who.id) == "ssh-ed25519 AAAA of my  laptop\nssh-rsa BBBB"
    assert all(row.created_at <= catalog.now() for row in ssh_keys.of_account(who.id))
    catalog.close()


def test_migration_numbers_have_no_gap():
    assert database.versions() == list(range(1, len(database.versions()) + 1))


def test_models_are_the_schema(opened):
    for model in models.TABLES:
        columns = [column.name for column in database.db.get_columns(model._meta.table_name)]
        assert sorted(columns) == sorted(field.column_name for field in model._meta.sorted_fields)  # later migrations add theirs at the end
    tables = {name for (name,) in database.rows("SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%'")}
    assert tables - {model._meta.table_name for model in models.TABLES} == {
        "name_suffix",
        "position",
    }  # those of catalog.search and its triggers


@pytest.mark.badinput
def test_a_catalog_from_a_newer_version_is_refused_and_left_alone(tmp_path):
    path = tmp_path / "catalog.db"
    at_version(path, database.versions()[-1])
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA user_version = 99")
    connection.close()
    before = path.read_bytes()
    with pytest.raises(Conflict, match=r"is of version 99.*Install the newer appliance again"):
        catalog.open(path)
    assert path.read_bytes() == before


@pytest.mark.badinput
def test_a_file_that_is_no_catalog_is_refused(tmp_path):
    path = tmp_path / "catalog.db"
    path.write_bytes(b"this is not a database, it is a letter to my grandmother" * 100)
    with pytest.raises(Unavailable, match="cannot be opened"):
        catalog.open(path)


def test_a_migration_that_fails_leaves_the_older_version(tmp_path, monkeypatch):
    path = tmp_path / "catalog.db"
    at_version(path, database.versions()[-1])
    folder = tmp_path / "migrations"
    folder.mkdir()
    for file in database.MIGRATIONS.glob("*.sql"):
        (folder / file.name).write_text(file.read_text())
    last = database.versions()[-1]
    (folder / f"{last + 1:04}.sql").write_text("CREATE TABLE extra (id INTEGER);\nINSERT INTO nowhere VALUES (1);\n")
    monkeypatch.setattr(database, "MIGRATIONS", folder)
    with pytest.raises(Unavailable, match="nowhere"):
        catalog.open(path)
    connection = sqlite3.connect(path)
    assert connection.execute("PRAGMA user_version").fetchone() == (last,)
    assert not connection.execute("SELECT 1 FROM sqlite_schema WHERE name = 'extra'").fetchall()
    connection.close()


def test_durability_settings_hold_on_every_thread(opened):
    seen = []

    def look():
        seen.append([database.rows(f"PRAGMA {name}")[0][0] for name in ("journal_mode", "synchronous", "foreign_keys")])
        catalog.close()

    thread = threading.Thread(target=look)
    thread.start()
    thread.join()
    look()
    assert seen == [["wal", 2, 1]] * 2


def test_a_write_is_all_or_nothing(opened):
    with pytest.raises(ZeroDivisionError), catalog.write():
        catalog.record("support.bundle", "this never happened")
        raise ZeroDivisionError
    assert catalog.Event.select().count() == 0


@pytest.mark.parametrize("statement", ["UPDATE event SET message = 'x'", "DELETE FROM event"])
def test_events_cannot_be_changed(opened, statement):
    with catalog.write():
        catalog.record("support.bundle", "it happened")
    with pytest.raises(Exception, match="append-only"):
        database.rows(statement)
    assert catalog.Event.get().message == "it happened"


def test_the_catalog_itself_refuses_a_second_owner(ready, alice, bob):
    [machine] = ready(1)
    verbs.request(alice, "small")
    with pytest.raises(Exception, match="UNIQUE"), catalog.write():
        Lease.create(machine=machine.id, account=bob.account_id, ends_at=catalog.now())


def test_slots_go_round_before_one_is_used_again(ready, small, alice):
    [first] = ready(1)
    machines.change(first.id, [MachineState.READY], MachineState.RECLAIMING)
    machines.change(first.id, [MachineState.RECLAIMING], MachineState.RETIRED)
    assert machines.next_slots(3, 4) == [1, 2, 3]
    ready(3)
    assert machines.next_slots(2, 4) == [0]


def test_five_hundred_claims_from_many_threads_never_meet(ready, small, opened):
    """Every machine goes to one person, and nobody is sent away while there is one."""
    ready(200)
    with catalog.write():
        catalog.Class.update(per_person=1000).execute()
        people = [Actor(f"p{n}", catalog.Account.create(name=f"p{n}", password="!").id) for n in range(20)]
    failures = []

    def claim(person):
        try:
            for _ in range(12):
                verbs.request(person, "small")
        except Exception as error:
            failures.append(error)
        finally:
            catalog.close()

    threads = [threading.Thread(target=claim, args=(person,)) for person in people]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    granted = [row.machine_id for row in catalog.Request.select().where(catalog.Request.state == catalog.RequestState.GRANTED)]
    assert len(granted) == len(set(granted)) == 200
    assert catalog.Request.select().where(catalog.Request.state == catalog.RequestState.WAITING).count() == 40
    assert catalog.check() == []
