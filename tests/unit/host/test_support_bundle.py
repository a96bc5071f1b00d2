"""The support bundle tells nothing that it must not: secrets are planted everywhere, by the lists of what there is, and looked for."""

import io
import json
import re
import tarfile
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from peewee import CharField, ForeignKeyField, TextField

from appliance import catalog, layout
from appliance.access import tls
from appliance.catalog import Account, models, options, report
from appliance.catalog.models import JsonField
from appliance.errors import CommandFailed, NotFound
from appliance.host.backup import catalog_copies
from appliance.host.rpc.registry import Host
from appliance.host.system import image, support_bundle
from appliance.identity import passwords, secrets
from appliance.settings import Settings
from tests import world

# The columns whose texts may stand in a bundle: what kind of thing happened to a machine of which class, and words of ours.
TOLD = {
    "event.kind",
    "event.message",
    "event.class_name",
    "machine.state",
    "seed.state",
    "snapshot.state",
    "request.state",
    "run.state",
    "data_disk.state",
}

# Columns that sound as if they let somebody in, and do not.
HARMLESS = {
    "idempotency_key.key",
    "scenario_file.digest",
    "scenario_version.digest",
    "recipe.digest",
    "event.hash",
    "ssh_key.key",
    "run.turn",
}


@pytest.fixture(autouse=True)
def elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(image, "boot_image", lambda: None)
    monkeypatch.setattr(support_bundle, "COMMANDS", {"memory": ["cat", "/proc/meminfo"], "missing": ["no-such-program"]})
    monkeypatch.setattr(support_bundle, "run", read)


def read(command: list[str], **_: object) -> str:
    """In place of the programs: `cat` of one file, and of any other that it is not there."""
    if command[0] != "cat":
        raise CommandFailed(f"The program {command[0]} is not installed.", status=127, output="")
    return Path(command[1]).read_text()


def bundle(settings: Settings) -> dict[str, str]:
    """The files of a new bundle, by their names in it."""
    name = support_bundle.make(settings, Host(settings))
    with tarfile.open(fileobj=io.BytesIO(support_bundle.find(settings, name).read_bytes())) as archive:
        return {member.name.split("/", 1)[1]: archive.extractfile(member).read().decode() for member in archive}  # type: ignore[union-attr]


def planted(what: str) -> str:
    """A word that is nowhere else, and says where it was planted."""
    return "canary" + what.replace(".", "x").replace("_", "y").replace("/", "z").replace("-", "q") + "end"


def columns() -> list[tuple[Any, Any]]:
    return [(table, field) for table in models.TABLES for field in table._meta.sorted_fields]


def plant_in_catalog() -> set[str]:
    """A canary in each text of each column of each table, where the catalog lets it be."""
    texts = [(table, field) for table, field in columns() if isinstance(field, CharField | TextField) and not isinstance(field, ForeignKeyField) and not field.primary_key]  # fmt: skip
    done = set()
    connection = models.db.connection()
    connection.execute("PRAGMA foreign_keys = off")
    connection.execute("PRAGMA ignore_check_constraints = on")
    for (trigger,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
        connection.execute(f"DROP TRIGGER {trigger}")
    for table in models.TABLES:
        name = table._meta.table_name
        if not connection.execute(f'SELECT count(*) FROM "{name}"').fetchone()[0]:
            _insert(connection, table)
    for table, field in texts:
        where = f"{table._meta.table_name}.{field.column_name}"
        connection.execute(f'UPDATE OR REPLACE "{table._meta.table_name}" SET "{field.column_name}" = ?', (planted(where),))
        done.add(where)
    for table, field in columns():
        if isinstance(field, JsonField) and table is not models.Option:
            where = f"{table._meta.table_name}.{field.column_name}"
            connection.execute(
                f'UPDATE "{table._meta.table_name}" SET "{field.column_name}" = ?', (json.dumps({"deep": [planted(where)]}),)
            )
            done.add(where)
    connection.commit()
    return done


def _insert(connection: Any, table: Any) -> None:
    """A row of plain values: what they are does not matter here."""
    values = {}
    for field in table._meta.sorted_fields:
        kind = connection.execute(
            f'SELECT type FROM pragma_table_info("{table._meta.table_name}") WHERE name = ?', (field.column_name,)
        ).fetchone()[0]
        values[field.column_name] = (
            1 if kind in ("INTEGER", "REAL") else "{}" if isinstance(field, JsonField) else "2026-11-21T10:00:00.000000+00:00"
        )
    names = ", ".join(f'"{name}"' for name in values)
    connection.execute("PRAGMA ignore_check_constraints = on")
    connection.execute(
        f'INSERT OR IGNORE INTO "{table._meta.table_name}" ({names}) VALUES ({", ".join("?" * len(values))})', tuple(values.values())
    )


def test_no_column_of_the_catalog_is_told_but_those_named_here(opened: Settings) -> None:
    world.busy(opened)
    done = plant_in_catalog()
    assert len(done) > 60
    said = "\n".join(bundle(opened).values())
    found = {where for where in done if planted(where) in said}
    assert found <= TOLD, found - TOLD
    assert "event.kind" in found  # a canary that is in it is found


def test_no_option_is_told_but_switches_and_numbers(opened: Settings) -> None:
    with catalog.write():
        for name in options.DEFAULTS:
            options.put(name, {"host": planted(name), "password": [planted(name)]})
    text = bundle(opened)["catalog.json"]
    assert "canary" not in text
    assert set(json.loads(text)["options"]) == set(options.DEFAULTS)


def test_each_column_that_sounds_like_a_secret_is_one(opened: Settings) -> None:
    """What is in the list is taken out of logs, too: whoever adds a column says which it is."""
    named = {f"{table._meta.table_name}.{field.column_name}" for table, field in columns() if re.search(r"password|secret|digest|token|key|hash|code|ending", field.column_name)}  # fmt: skip
    listed = {f"{table}.{column}" for table, names in report.SECRET.items() for column in names}
    assert named - HARMLESS == listed - {"session.id", "webhook.url"}  # which say nothing of it
    existing = {f"{table._meta.table_name}.{field.column_name}" for table, field in columns()}
    assert listed <= existing


def files(settings: Settings) -> list[Path]:
    """A file in each place where the appliance keeps something, and in some that may come: none is read for a bundle but logs."""
    places = {
        value
        for name in dir(Settings)
        if isinstance(getattr(Settings, name), property) and isinstance(value := getattr(settings, name), Path)
    }
    folders = [place for place in places if place != settings.logs and not place.is_file() and place.suffix not in (".sock", ".db")]
    return [place / "some-secret" for place in folders] + [
        settings.state / name for name in ("setup-code", "backup/key", "rescue/owners.json", "new-secret", "new/secret")
    ]


def test_no_file_of_the_state_is_told(opened: Settings) -> None:
    written = []
    for file in files(opened):
        if file.name == "some-secret" and file.parent.name in ("doorbell", "web-secret", "catalog.db", "host.sock"):
            continue
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps({"password": planted(str(file.relative_to(opened.state)))}))
        written.append(file)
    assert len(written) > 10
    tls.ensure(opened)
    said = "\n".join(bundle(opened).values())
    assert "canary" not in said
    assert "PRIVATE" not in said


def in_use(settings: Settings) -> dict[str, str]:
    """An appliance with every kind of secret that there is, as the product keeps it; the secrets by their names."""
    secrets.open(settings.web_secret)
    world.set_up()
    hashed = passwords.digest("correct horse battery staple")
    with catalog.write():
        owner = Account.create(name="grace", full_name="Grace Hopper", email="grace@hillside.test", password=hashed)
        models.Session.create(id="5e551011" * 8, account=owner, expires_at=models.now())
        models.SecondFactor.create(account=owner, secret="JBSWY3DPEHPK3PXPJBSW", confirmed_at=models.now())
        models.RecoveryCode.create(account=owner, digest="ab12" * 16)
        models.Token.create(account=owner, name="ci", digest="cd34" * 16, ending="x9y8z7", expires_at=models.now())
        sealed = {name: secrets.seal(name, f"{name} plain") for name in ("smtp", "ldap", "hook")}
        options.put("mail", {"server": {"host": "mail.test"}, "password": sealed["smtp"]})
        options.put("directory", {"config": {"uri": "ldaps://dir.test"}, "password": sealed["ldap"]})
        options.put("webhooks", {"secret": sealed["hook"], "before": ""})
        options.put("setup_code", "ef56" * 16)
    _, key = tls.ensure(settings)
    (settings.state / "setup-code").write_text("ABCD-EFGH-JKLM\n")
    (settings.state / "backup").mkdir(exist_ok=True)
    (settings.state / "backup" / "key").write_text("recovery-key-abcdef-012345\n")
    (settings.state / "backup" / "target.json").write_text(json.dumps({"kind": "s3", "secret_key": "s3secretkey99", "bucket": "keep"}))
    return {
        "password hash": hashed,
        "session": "5e551011" * 8,
        "one-time codes": "JBSWY3DPEHPK3PXPJBSW",
        "recovery code": "ab12" * 16,
        "token": "cd34" * 16,
        "setup code": "ABCD-EFGH-JKLM",
        "setup code's digest": "ef56" * 16,
        "web secret": settings.web_secret.read_bytes().hex(),
        "key of the certificate": key.read_text(),
        "a line of it": key.read_text().splitlines()[3],
        "recovery key": "recovery-key-abcdef-012345",
        "key of the bucket": "s3secretkey99",
        **{f"sealed {name}": value for name, value in sealed.items()},
        "bearer": "Bearer abc.def.ghi",
        "in an address": "https://joe:pa55word@mirror.test/debian",
        "named": 'password="hunter2hunter2"',
        "assigned": "smtp_password: topsecretvalue",
    }


@pytest.mark.parametrize("damaged", [False, True])
def test_a_secret_that_got_into_a_log_is_taken_out(opened: Settings, damaged: bool) -> None:
    planted = in_use(opened)
    (opened.logs / "engine.log").write_text(
        "INFO engine: it works\n" + "".join(f"WARNING engine: {name} was {value} there\n" for name, value in planted.items())
    )
    with catalog.write():
        catalog.record("support.bundle", f"The token {planted['token']} of grace is bad.", level=catalog.Level.WARNING)
    if damaged:
        catalog_copies.make(opened)
        catalog.close()
        opened.catalog.write_bytes(b"broken" * 999)
    found = bundle(opened)
    said = "\n".join(found.values())
    assert "INFO engine: it works" in found["logs/engine.txt"].replace("engine info: ", "")
    tails = {"bearer": "abc.def.ghi", "in an address": "pa55word", "named": "hunter2hunter2", "assigned": "topsecretvalue"}
    left = [name for name, value in planted.items() if tails.get(name, value) in said]
    assert left == []
    assert found["logs/engine.txt"].count("[removed]") >= len(planted)
    assert bool(json.loads(found["catalog.json"])["trouble"]) == damaged


def test_people_are_numbers(opened: Settings) -> None:
    in_use(opened)
    with catalog.write():
        Account.create(name="al", full_name="Al", password="!")  # too short to be told from a word
    (opened.logs / "web.log").write_text("INFO web: Grace Hopper <grace@hillside.test> GRACE graceful disgrace\n")
    (opened.logs / "nginx.log").write_text(
        "10.1.2.3 GET /account 200\n2026/11/21 [error] 1#1: upstream failed, client: 10.1.2.3, server: x\n"
    )
    found = bundle(opened)
    assert found["logs/web.txt"].strip().endswith("person-1 <person-1> person-1 graceful disgrace")
    assert "10.1.2.3" not in found["logs/nginx.txt"]
    assert "upstream failed" in found["logs/nginx.txt"]


def test_what_helps_is_in_it(opened: Settings) -> None:
    world.busy(opened)
    found = bundle(opened)
    assert {"README.txt", "about.json", "settings.json", "parts.json", "catalog.json", "operations.json", "host/memory.txt"} <= set(found)
    assert "MemTotal" in found["host/memory.txt"]
    assert "no-such-program" in found["host/missing.txt"]
    kept = json.loads(found["catalog.json"])
    assert kept["rows"]["machine"] > 3
    assert "CREATE TABLE" in kept["schema"]["account"]
    assert kept["events"]
    assert kept["trouble"] == ""
    assert set(json.loads(found["settings.json"])) == {field.name for field in fields(Settings)}
    assert "Flask" in json.loads(found["about.json"])["packages"] or "flask" in json.loads(found["about.json"])["packages"]


def test_only_the_last_three_are_kept_and_nothing_else_is_handed_out(opened: Settings) -> None:
    for number in range(5):
        (opened.support / f"dpe-support-20260101-00000{number}.tar.gz").touch()
    (opened.support / "other.txt").touch()
    name = support_bundle.make(opened, Host(opened))
    kept = sorted(file.name for file in opened.support.glob("*.tar.gz"))
    assert kept == ["dpe-support-20260101-000003.tar.gz", "dpe-support-20260101-000004.tar.gz", name]
    for bad in ("other.txt", "../web-secret", "dpe-support-20200101-000000.tar.gz", ""):
        with pytest.raises(NotFound):
            support_bundle.find(opened, bad)


def test_what_cannot_be_told_keeps_the_rest_from_nobody(opened: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(settings: Settings) -> None:
        raise CommandFailed("systemctl is not there.", "", status=127, output="")

    monkeypatch.setitem(support_bundle.JSON, "parts.json", broken)
    found = bundle(opened)
    assert "systemctl is not there." in json.loads(found["parts.json"])["problem"]
    assert json.loads(found["catalog.json"])["rows"]


def test_without_a_catalog_it_is_made_all_the_same(settings: Settings) -> None:
    layout.prepare(settings)
    settings.catalog.unlink()
    assert json.loads(bundle(settings)["catalog.json"]) == {"trouble": "The catalog is missing or empty."}
