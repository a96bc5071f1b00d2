"""Checking the record, taking it away, sending it on; and importing people."""

import csv
import hashlib
import io
import json
import time

import pytest

from appliance import catalog
from appliance.catalog import Account, Actor, Event, Level, events, now, options, outgoing_mail, record
from appliance.catalog.event_kinds import Area
from appliance.errors import BadInput
from appliance.identity import secrets
from appliance.services import audit, importing, password_links, sessions
from appliance.settings import Settings
from tests.unit.catalog.test_events import tamper, write


def test_that_somebody_looked_is_recorded_with_what_was_found(admin: Actor, opened: Settings) -> None:
    assert audit.last_check() == {}
    write(5)
    assert audit.verify(admin).problems == []
    assert audit.last_check()["lines"] == 5
    tamper(opened, "UPDATE event SET message = 'Nothing.' WHERE id = 3")
    assert audit.verify(admin).problems == ["Line 3 is not as it was written."]
    [last] = events.list_events(limit=1)
    assert (last.kind, last.level, last.actor) == ("audit.verified", Level.ERROR, "admin")
    assert audit.last_check()["problems"]


def test_an_export_can_be_verified_by_whoever_has_it(admin: Actor) -> None:
    with catalog.write():
        record(
            "account.changed",
            "Zoë said “no” at 0.1.",
            Actor("zoë", 3, "192.0.2.1"),
            object="account:zoë",
            before={"x": 0.1, "y": None},
            after={"x": "ü"},
        )
    write(3)
    lines = [json.loads(line) for line in audit.as_json_lines()]
    hash = ""
    for line in lines:
        data = json.dumps(line["data"], separators=(",", ":"))
        names = ("at", "kind", "level", "message", "actor", "address", "account_id", "class_name", "machine_id", "seed_id")
        values = [line[name] for name in names] + [data, line["object"]]
        hash = hashlib.sha256((hash + "\n" + json.dumps(values, separators=(",", ":"))).encode()).hexdigest()
        assert line["hash"] == hash
    assert len(lines) == 4


def test_the_csv_is_the_same_record(admin: Actor) -> None:
    write(2000)
    parts = list(audit.as_csv(area=Area.SUPPORT))
    assert len(parts) > 1
    found = list(csv.DictReader(io.StringIO("".join(parts), newline="")))
    assert [int(row["id"]) for row in found] == list(range(1, 2001))
    assert json.loads(found[7]["data"]) == {"before": {"n": 7}, "after": {"n": 0}}


@pytest.mark.badinput
def test_a_name_that_somebody_typed_does_not_become_a_formula(admin: Actor) -> None:
    with catalog.write():
        record("sign_in.failed", "-1", Actor('=HYPERLINK("http://evil.test")'), class_name='@x"\r\n=1')
    [row] = csv.DictReader(io.StringIO("".join(audit.as_csv()), newline=""))
    assert all(not value.startswith(("=", "-", "@")) for value in row.values())
    assert row["class_name"] == "'@x\"\r\n=1"


def test_forwarding_is_decided_with_before_and_after(admin: Actor) -> None:
    audit.set_forwarding(admin, host=" logs.example.org ", port="601", transport="tcp")
    assert str(audit.forwarding().receiver) == "logs.example.org port 601 (TCP)"
    assert audit.forwarding().waiting == Event.select().count()
    audit.set_forwarding(admin, host="", port="", transport="udp")
    assert audit.forwarding() == audit.Forwarding(None, 0, "")
    assert events.list_events(limit=1)[0].data == {"before": {"host": "logs.example.org", "port": 601, "transport": "tcp"}, "after": {}}


@pytest.mark.badinput
@pytest.mark.parametrize(
    ("host", "port", "transport", "said"),
    [
        ("two hosts", "514", "tcp", "not a name or address"), ("http://x", "514", "tcp", "not a name or address"), ("x" * 64, "514", "tcp", "not a name"),
        ("logs", "", "tcp", "not a port"), ("logs", "0", "tcp", "not a port"), ("logs", "65536", "tcp", "not a port"), ("logs", "٥١٤", "tcp", "not a port"),
        ("logs", "9" * 400, "tcp", "not a port"), ("logs", "514", "smoke", "TCP or UDP"),
    ],
)  # fmt: skip
def test_a_receiver_that_cannot_be_is_refused(admin: Actor, host: str, port: str, transport: str, said: str) -> None:
    audit.set_forwarding(admin, host="logs", port="514", transport="udp")
    with pytest.raises(BadInput, match=said):
        audit.set_forwarding(admin, host=host, port=port, transport=transport)
    assert options.get("syslog")["host"] == "logs"


# -- importing people ----------------------------------------------------------------------


def test_people_come_from_a_table(admin: Actor) -> None:
    table = 'Name;Full name;E-mail\nada;"Lovelace; Ada";ada@example.org\r\n\nzoë-is-no-name;x;\n'.replace("E-mail", "email").replace(
        "zoë-is-no-name", "zoe"
    )
    made = importing.people(admin, b"\xef\xbb\xbf" + table.encode())
    assert [person.name for person in made] == ["ada", "zoe"]
    ada = Account.get(Account.name == "ada")
    assert (ada.full_name, ada.email) == ("Lovelace; Ada", "ada@example.org")
    password_links.redeem(made[0].link.partition("#")[2], "chosen by herself", "192.0.2.1")
    assert sessions.sign_in("ada", "chosen by herself", "192.0.2.1")
    assert made[0].link[-20:] not in str(list(Event.select().dicts()))


def test_a_password_in_the_table_is_kept_not_told_again_and_changed_first_of_all(admin: Actor) -> None:
    [made] = importing.people(admin, b"name,password\nada,correct horse battery\n")
    assert (made.link, made.has_password) == ("", True)
    _, account = sessions.sign_in("ada", "correct horse battery", "192.0.2.1")
    assert account.must_change


def test_who_has_an_address_is_invited_by_mail_where_mail_is_set_up(admin: Actor, opened: Settings) -> None:
    opened.web_secret.write_bytes(b"s" * 32)
    secrets.open(opened.web_secret)
    with catalog.write():
        options.put("mail", {"on": True})
        options.put("address", "https://dpe.example.org")
    made = importing.people(admin, b"name,email\nada,ada@example.org\nzoe,\n")
    assert [bool(person.link) for person in made] == [False, True]
    [letter] = outgoing_mail.due_mail(now())
    assert (letter.to, letter.path) == ("ada@example.org", "/set-password")


@pytest.mark.badinput
@pytest.mark.parametrize(
    ("table", "said"),
    [
        (b"name,email\nada,ada@example.org\nbob,bob@example.org,extra\n", "Line 3: 3 cells where there are 2 columns"),
        (b"name,email\nada,ada@example.org\n2fast,x@example.org\n", "Line 3: '2fast' cannot be an account's name"),
        (b"name,email\nada,not an address\n", "Line 2: 'not an address' is not an e-mail"),
        (b"name\nada\nADA\n", "Line 3: there is already an account ADA"),
        (b"name\nadmin\n", "Line 2: there is already an account admin"),
        (b"name,password\nada,short\n", "Line 2: the password is too short"),
        (b'name,full_name\nada,"Ada\nbob,Bob\n', "is not closed"),
        (b'name,full_name\nada,"Ada" Lovelace\n', "Line 2: "),
        (b"name,full_name\nada,Ad\xe4\n", "Line 2: this is not UTF-8"),
        (b"name,full_name\nada,Ad\x00a\n", "Line 2: "),
        (b"name,shoe size\nada,37\n", "Line 1: there is no column 'shoe_size'"),
        (b"email\nada@example.org\n", "Line 1: the column name is missing"),
        (b"name,name\nada,ada\n", "Line 1: a column is there twice"),
        (b"", "names nobody"),
        (b"name\n", "names nobody"),
        (b"name\n" + b"".join(b"p%d\n" % n for n in range(1001)), "1000 at a time"),
        (b"name,password\n" + b"".join(b"p%d,a good password\n" % n for n in range(101)), "100 at a time"),
        (b"name,full_name\nada," + b"x" * 200_000 + b"\n", "Line 2: "),
    ],
)  # fmt: skip
def test_a_wrong_line_is_named_and_nobody_is_imported(admin: Actor, table: bytes, said: str) -> None:
    with pytest.raises(importing.BadLines) as caught:
        importing.people(admin, table)
    assert any(said in problem for problem in caught.value.problems), caught.value.problems
    assert Account.select().count() == 1


def test_a_thousand_people_are_no_matter_of_minutes(admin: Actor) -> None:
    """A door that waits a minute for an answer must not lose the links that were made."""
    begun = time.monotonic()
    made = importing.people(admin, b"name\n" + b"".join(b"p%d\n" % n for n in range(1000)))
    assert time.monotonic() - begun < 20
    assert len({person.link for person in made}) == 1000
    assert password_links.redeem(made[999].link.partition("#")[2], "chosen by herself", "192.0.2.1").name == "p999"
    assert events.verify().problems == []


@pytest.mark.badinput
def test_every_wrong_line_is_named_up_to_twenty(admin: Actor) -> None:
    with pytest.raises(importing.BadLines) as caught:
        importing.people(admin, b"name\n" + b"1\n" * 30)
    assert len(caught.value.problems) == 21
    assert caught.value.problems[-1] == "and 10 more"
