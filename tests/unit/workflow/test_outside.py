"""E-mail and webhooks as steps of a run: a real mail server, a real receiver, and an engine that is killed in between."""

import json
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from typing import Any

import pytest
from pydantic import ValidationError

from appliance import catalog
from appliance.catalog import Account, Actor, Grant, Machine, Run, RunState, Sequence, Step, StepState, VersionState, options, runs
from appliance.catalog import now as real_now
from appliance.catalog import sequences as sequence_rows
from appliance.errors import Conflict
from appliance.identity import secrets
from appliance.outbound import webhook
from appliance.services import hooks
from appliance.settings import Settings
from appliance.workflow import kinds, sequence
from appliance.workflow.activities import ACTIVITIES
from appliance.workflow.runner import Done, Handler, Runner
from tests.post import office
from tests.receiver import Receiver, serving

pytestmark = pytest.mark.workflow

R = RunState
HOME = "https://dpe.example.org:8443"


class Engine:
    """A runner whose clock is ours, and the run of one activity before a machine is stopped."""

    def __init__(self, machine: Machine, person: Actor) -> None:
        self.machine, self.person = machine, person
        self.offset = timedelta()
        self.stopped = 0
        self.start()

    def start(self) -> None:
        """As after a restart."""
        with catalog.write():
            runs.requeue()
        self.runner = Runner({**ACTIVITIES, "stop": Handler(self._stop)}, clock=self.now)

    def now(self) -> datetime:
        return real_now() + self.offset

    def _stop(self, *_: Any) -> Done:
        self.stopped += 1
        return Done()

    def begin(self, kind: str, with_: dict[str, Any], **more: Any) -> int:
        before = [{"name": "tell", "kind": kind, "with": with_, **more}]
        body = sequence.dump({"stop": sequence.Around.model_validate({"before": before})})
        with catalog.write():
            if Sequence.get_or_none(Sequence.name == "told") is None:
                Sequence.create(name="told", title="Told")
            version = sequence_rows.add("told", body, VersionState.PROMOTED)
            return runs.begin_run(
                "stop", machine_id=self.machine.id, class_name="small", account_id=self.person.account_id,
                version_id=version.id,
            )  # fmt: skip

    def go(self, id: int) -> Run:
        """Take the run as far as it goes now."""
        self.runner.advance(id)
        found = runs.by_id(id)
        assert found is not None
        return found

    def token(self, id: int) -> str:
        return webhook.token(webhook.Asking(id, 0, self.step(id).started_at))

    def step(self, id: int) -> Step:
        found = runs.step(id, 0)
        assert found is not None
        return found


@pytest.fixture
def engine(opened: Settings, alice: Actor, ready: Callable[[int], list[Machine]]) -> Engine:
    opened.web_secret.write_bytes(b"k" * 32)
    secrets.open(opened.web_secret)
    with catalog.write():
        Account.update(email="alice@example.org", full_name="Alice {link} Müller").where(Account.id == alice.account_id).execute()
        options.put("address", HOME)
        options.put("webhooks", {"secret": webhook.sealed(webhook.new_secret())})
    [machine] = ready(1)
    with catalog.write():
        Machine.update(owner=alice.account_id).where(Machine.id == machine.id).execute()
    return Engine(Machine.get(Machine.id == machine.id), alice)


def use_mail(port: int) -> None:
    with catalog.write():
        stored = {"host": "127.0.0.1", "port": port, "security": "none", "authority": "", "user": "", "sender": "dpe@example.org"}
        options.put("mail", {"on": True, "server": stored, "password": ""})


# -- e-mail ------------------------------------------------------------------------------------


@pytest.mark.badinput
@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"subject": "{password}"}, "there is no placeholder {password}; there are {machine}"),
        ({"text": "{machine.owner.password}"}, "there is no placeholder {machine.owner.password}"),
        ({"text": "{}"}, "there is no placeholder {}"),
        ({"to": "addresses"}, "there are none"),
        ({"to": "addresses", "addresses": ["ada"]}, "is not an e-mail address"),
        ({"to": "everybody"}, "Input should be"),
    ],
)
def test_what_cannot_be_written_is_refused_where_it_stands(wrong: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError) as refused:
        kinds.Notify.model_validate({"subject": "Hello", "text": "Hello"} | wrong)
    assert said in str(refused.value)


def test_mail_goes_out_with_its_placeholders_filled_in_once(engine: Engine) -> None:
    with office() as post:
        use_mail(post.port)
        id = engine.begin("notify", {"subject": "{machine} of {owner}", "text": "Run {run}, {class}, {requester}: {link}"})
        assert engine.go(id).state is R.DONE
    [read] = post.taken
    assert read["To"] == "alice@example.org"
    assert read["Subject"] == f"{engine.machine.name} of Alice {{link}} Müller"
    assert read.get_content().strip() == f"Run {id}, Small machine, Alice {{link}} Müller: {HOME}/"
    assert engine.step(id).output["to"] == ["alice@example.org"]
    assert engine.stopped == 1


def test_each_kind_of_people_is_written_to(engine: Engine, bob: Actor, admin: Actor) -> None:
    with catalog.write():
        Account.update(email="bob@example.org").where(Account.id == bob.account_id).execute()
        Account.update(email="admin@example.org").where(Account.id == admin.account_id).execute()
        Grant.create(role="operator", account=bob.account_id, over_class="small")
    with office() as post:
        use_mail(post.port)
        for to in (
            {"to": "owner"},
            {"to": "role", "role": "operator"},
            {"to": "addresses", "addresses": ["a@example.org", "b@example.org"]},
        ):
            assert engine.go(engine.begin("notify", {"subject": "Hello", "text": "Hello"} | to)).state is R.DONE
    found = [made["To"] for made in post.taken]
    assert found == ["alice@example.org", "bob@example.org", "admin@example.org", "a@example.org", "b@example.org"]
    assert f"{HOME}/admin/machines/{engine.machine.id}" in post.taken[1].get_content()


def test_without_e_mail_the_run_goes_on_and_says_so(engine: Engine) -> None:
    id = engine.begin("notify", {"subject": "Hello", "text": "Hello"})
    assert engine.go(id).state is R.DONE
    assert engine.step(id).output["said"] == "Not sent: e-mail is not set up."
    with catalog.write():
        Account.update(email="").execute()
    use_mail(1)
    id = engine.begin("notify", {"subject": "Hello", "text": "Hello"})
    assert engine.go(id).state is R.DONE
    assert engine.step(id).output["said"] == "Not sent: nobody has an e-mail address."


def test_a_server_that_is_away_is_tried_again_and_a_refusal_is_not(engine: Engine) -> None:
    with office() as post:
        use_mail(post.port)
        post.to_data = "451 Later"
        id = engine.begin("notify", {"subject": "Hello", "text": "Hello"})
        assert engine.go(id).state is R.WAITING
        assert "451 Later" in engine.step(id).problem
        assert engine.go(id).state is R.WAITING, "not before its time"
        engine.offset += timedelta(seconds=6)
        post.to_data = ""
        assert engine.go(id).state is R.DONE
        assert len(post.taken) == 1
        post.to_recipient = "550 Nobody here"
        id = engine.begin("notify", {"subject": "Hello", "text": "Hello"}, on_failure="go_on")
        assert engine.go(id).state is R.DONE
        assert engine.step(id).state is StepState.FAILED
        assert "550 Nobody here" in engine.step(id).problem
    assert engine.stopped == 2


def test_a_kill_after_the_mail_left_makes_the_same_mail_again(engine: Engine) -> None:
    with office() as post:
        use_mail(post.port)
        id = engine.begin("notify", {"subject": "Hello", "text": "Hello"})
        begun = engine.runner.begin(id)
        assert begun is not None
        engine.runner.perform(begun)  # and nobody is left to keep that
        engine.start()
        assert engine.go(id).state is R.DONE
    assert len(post.taken) == 2
    assert len({made["Message-ID"] for made in post.taken}) == 1


# -- webhooks ----------------------------------------------------------------------------------


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with serving() as made:
        yield made


def payload(receiver: Receiver, call: int = -1) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(receiver.calls[call][2])
    return found


def test_a_webhook_tells_what_it_is_about(engine: Engine, receiver: Receiver) -> None:
    receiver.says = [(200, b'{"ok": true, "ticket": 4711}', {})]
    id = engine.begin("webhook", {"url": receiver.url})
    assert engine.go(id).state is R.DONE
    told = payload(receiver)
    assert told["type"] == "stop.before"
    assert told["data"]["run"] == id
    assert told["data"]["machine"]["name"] == engine.machine.name
    assert told["data"]["machine"]["owner"]["email"] == "alice@example.org"
    assert "answer_to" not in told
    assert engine.step(id).output == {"status": 200, "answer": {"ok": True, "ticket": 4711}}


@pytest.mark.badinput
def test_a_no_ends_the_run_with_its_reason(engine: Engine, receiver: Receiver) -> None:
    receiver.says = [(200, b'{"ok": false, "reason": "The budget\\nis spent."}', {})]
    run = engine.go(engine.begin("webhook", {"url": receiver.url}))
    assert run.state is R.FAILED
    assert run.problem == "127.0.0.1 says no: The budget is spent."
    assert engine.stopped == 0


@pytest.mark.badinput
def test_500_is_tried_again_with_pauses_until_it_is_enough(engine: Engine, receiver: Receiver) -> None:
    receiver.says = [(500, b"broken", {})] * 3
    id = engine.begin("webhook", {"url": receiver.url}, retry={"tries": 3, "wait": "10s", "longest": "1m"})
    for pause in (10, 20):
        run = engine.go(id)
        assert run.state is R.WAITING
        assert run.wake_at is not None
        assert timedelta(seconds=pause - 2) < run.wake_at - engine.now() <= timedelta(seconds=pause)
        engine.offset += timedelta(seconds=pause)
    run = engine.go(id)
    assert run.state is R.FAILED
    assert "answers 500" in run.problem
    assert len({headers["webhook-id"] for _, headers, _ in receiver.calls}) == 1
    assert len(receiver.calls) == 3


@pytest.mark.badinput
def test_a_redirect_and_an_unset_secret_end_it_at_once(engine: Engine, receiver: Receiver) -> None:
    receiver.says = [(302, b"", {"Location": "http://127.0.0.1:1/"})]
    assert engine.go(engine.begin("webhook", {"url": receiver.url})).state is R.FAILED
    with catalog.write():
        options.put("webhooks", {})
    run = engine.go(engine.begin("webhook", {"url": receiver.url}))
    assert "no secret yet" in run.problem
    assert len(receiver.calls) == 1


def test_an_answer_comes_later_and_twice(engine: Engine, receiver: Receiver) -> None:
    receiver.says = [(202, b"", {})]
    id = engine.begin("webhook", {"url": receiver.url, "answer": "later", "within": "2h"})
    run = engine.go(id)
    assert (run.state, run.why) == (R.WAITING, "127.0.0.1 is to answer")
    assert run.wake_at is not None
    assert run.wake_at - engine.now() > timedelta(minutes=119)
    engine.start()
    engine.go(id)
    assert len(receiver.calls) == 1, "waking up calls nobody again"
    token = payload(receiver)["answer_to"].removeprefix(f"{HOME}/hooks/")
    hooks.answer(token, b'{"ok": true, "ticket": 4711}')
    assert engine.go(id).state is R.DONE
    assert engine.step(id).output["answer"] == {"ok": True, "ticket": 4711}
    hooks.answer(token, b'{"ok": true, "ticket": 4711}')
    with pytest.raises(Conflict, match="Another answer"):
        hooks.answer(token, b'{"ok": false}')
    assert (runs.by_id(id) or run).state is R.DONE
    assert engine.stopped == 1


@pytest.mark.badinput
def test_a_no_that_comes_later(engine: Engine, receiver: Receiver) -> None:
    id = engine.begin("webhook", {"url": receiver.url, "answer": "later"})
    engine.go(id)
    hooks.answer(engine.token(id), b'{"ok": false, "reason": "No room."}')
    assert engine.go(id).problem == "127.0.0.1 says no: No room."


@pytest.mark.badinput
def test_an_answer_that_never_comes_ends_it_in_time(engine: Engine, receiver: Receiver) -> None:
    id = engine.begin("webhook", {"url": receiver.url, "answer": "later", "within": "30m"})
    assert engine.go(id).state is R.WAITING
    engine.offset += timedelta(minutes=31)
    run = engine.go(id)
    assert run.state is R.FAILED
    assert run.problem == "127.0.0.1 did not answer within 30m."
    with pytest.raises(Conflict, match="waits for this answer"):
        hooks.answer(engine.token(id), b"{}")


def test_an_answer_that_comes_before_the_call_has_ended_counts(engine: Engine, receiver: Receiver) -> None:
    id = engine.begin("webhook", {"url": receiver.url, "answer": "later"})
    begun = engine.runner.begin(id)
    assert begun is not None
    outcome = engine.runner.perform(begun)
    hooks.answer(engine.token(id), b'{"ok": true}')
    engine.runner.settle(begun, outcome)
    assert engine.go(id).state is R.DONE
    assert len(receiver.calls) == 1


def test_a_kill_after_the_call_makes_the_same_call_again(engine: Engine, receiver: Receiver) -> None:
    id = engine.begin("webhook", {"url": receiver.url, "answer": "later"})
    begun = engine.runner.begin(id)
    assert begun is not None
    engine.runner.perform(begun)
    engine.start()
    assert engine.go(id).state is R.WAITING
    first, second = receiver.calls
    assert first[1]["webhook-id"] == second[1]["webhook-id"]
    assert first[2] == second[2]


def test_what_is_tried_anew_asks_anew(engine: Engine, receiver: Receiver) -> None:
    id = engine.begin("webhook", {"url": receiver.url, "answer": "later"})
    engine.go(id)
    first = engine.token(id)
    hooks.answer(first, b'{"ok": false}')
    run = engine.go(id)
    assert run.state is R.FAILED
    with catalog.write():
        runs.rewind(run, 0)
    assert engine.go(id).state is R.WAITING
    assert len({headers["webhook-id"] for _, headers, _ in receiver.calls}) == 2, "a receiver takes it for another one"
    with pytest.raises(Conflict, match="waits for this answer"):
        hooks.answer(first, b'{"ok": false}')  # which was under way for long
    hooks.answer(engine.token(id), b"{}")
    assert engine.go(id).state is R.DONE


@pytest.mark.badinput
@pytest.mark.parametrize("url", ["ftp://example.org", "http://u:p@example.org", "x"])
def test_an_address_that_cannot_be_called_is_refused_where_it_stands(url: str) -> None:
    with pytest.raises(ValidationError, match="cannot be called"):
        kinds.Webhook.model_validate({"url": url})
