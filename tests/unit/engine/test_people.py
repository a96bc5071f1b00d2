"""What the engine does for people by itself: their mail is sent, and nothing waits for who has gone."""

from datetime import timedelta

import pytest

from appliance import catalog
from appliance.catalog import Account, DirectoryRun, Event, OutgoingMail, Run, RunState, Step, now, options, runs
from appliance.catalog import machines as machine_rows
from appliance.engine.periodic import REMEMBERED
from appliance.identity import secrets
from appliance.services import directory, inbox, machines
from tests.post import office
from tests.unit.engine.fake import settle

pytestmark = pytest.mark.workflow


def test_who_is_asked_gets_a_mail_and_who_has_gone_is_noticed(engine, follow, alice, bob, admin):
    follow(assign={"before": [{"name": "yes", "kind": "approval", "with": {"account": "alice"}}]})
    with office() as server:
        with catalog.write():
            Account.update(email=Account.name.concat("@example.org")).execute()
            sent_from = {
                "host": "127.0.0.1",
                "port": server.port,
                "security": "none",
                "authority": "",
                "user": "",
                "sender": "dpe@example.org",
            }
            options.put("mail", {"on": True, "server": sent_from, "password": ""})
        machines.request(bob, "small")
        settle(engine, 4)
        assert [mail["To"] for mail in server.taken] == ["alice@example.org"]
        Account.delete().where(Account.id == alice.account_id).execute()
        engine.schedule.hurry("approvers", "retention")  # a minute later
        settle(engine, 4)
        assert [mail["To"] for mail in server.taken] == ["alice@example.org", "admin@example.org"]
    assert OutgoingMail.select().count() == 0
    assert "so owners are asked" in Event.get(Event.kind == "todo.escalated").message
    inbox.decide(admin, inbox.my_work_items(admin)[0].id, yes=True)
    settle(engine)
    assert [machine.state.value for machine in machines.my_machines(bob.account_id)] == ["in_use"]


def test_runs_that_ended_long_ago_are_forgotten_with_their_steps(engine, small):
    with catalog.write():
        for days, ended in ((91, True), (89, True), (400, False)):
            run = Run.get_by_id(runs.begin_run("assign", class_name="small", waits="somebody"))
            Step.create(run=run.id, number=0, name="yes", kind="approval", title="Yes", state="waiting")
            moment = now() - timedelta(days=days)
            Run.update(ended_at=moment if ended else None, state=RunState.DONE if ended else RunState.WAITING).where(
                Run.id == run.id
            ).execute()
    assert timedelta(days=90) == REMEMBERED
    engine.schedule.hurry("approvers", "retention")
    engine.tick()
    assert Run.select().where(Run.kind == "assign").count() == Step.select().count() == 2


def test_the_directory_is_synchronised_beside_its_work(opened, engine, small, admin):
    secrets.open(opened.web_secret)
    directory.change(admin, {"servers": ["127.0.0.1:1"], "base": "dc=example,dc=org", "minutes": 60}, "")
    settle(engine, ticks=2)
    run = DirectoryRun.get()
    assert (run.state, run.problem) == (RunState.FAILED, "Nothing listens at 127.0.0.1:1.")
    assert Event.select().where(Event.kind == "directory.failed").count() == 1
    assert sum(machine_rows.counts()["small"].values()) == 2
