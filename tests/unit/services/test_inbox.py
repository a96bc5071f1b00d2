"""What waits for people: who may answer, what an answer does, and that nothing waits for somebody who has gone."""

import itertools
from datetime import timedelta

import pytest

from appliance import catalog
from appliance.catalog import (
    ROOT,
    Account,
    Class,
    Event,
    Grant,
    Group,
    Member,
    OrgUnit,
    OutgoingMail,
    Request,
    RequestState,
    Run,
    RunState,
    WorkItem,
    WorkItemState,
    now,
    options,
    work_items,
)
from appliance.catalog.grants import Location
from appliance.errors import BadInput, Conflict, NotAllowed, NotFound
from appliance.identity import approvers, permissions, roles
from appliance.services import delegation, inbox, org_units
from appliance.services import machines as verbs
from appliance.services import runs as run_verbs
from appliance.services.delegation import Holder
from appliance.workflow.activities.people import notice_gone
from tests.plans import scans, statements
from tests.unit.conftest import account

pytestmark = pytest.mark.workflow

YES = {"name": "yes", "kind": "approval", "title": "A manager says yes"}
HOURS = timedelta(hours=1)


def grant(actor, role, **over):
    with catalog.write():
        Grant.create(role=role, account=actor.account_id, **over)


def mail_on():
    with catalog.write():
        options.put("mail", {"on": True})
        Account.update(email=Account.name.concat("@example.org")).execute()


def written():
    return sorted((row.about.partition("-")[2], row.account.name) for row in OutgoingMail.select())


@pytest.fixture
def bobs(follow, walk, ready, bob, admin):
    """Bob's request, which waits for a manager's yes."""
    follow(assign={"before": [YES]})
    ready(1)
    request = verbs.request(bob, "small")
    assert (request.state, request.machine_id) == (RequestState.PENDING, None)
    walk()
    return request


def todo():
    return WorkItem.get()


def test_a_yes_gets_the_machine_and_is_remembered(bobs, walk, alice, bob):
    grant(alice, "approver")
    [waits] = inbox.my_work_items(alice)
    assert (waits.title, waits.requester.name, waits.class_name) == ("A manager says yes", "bob", "small")
    assert inbox.count(alice, permissions.of(alice)) == 1
    done = inbox.decide(alice, waits.id, yes=True, comment="  for the course ")
    assert (done.state, done.decided_by, done.comment) == (WorkItemState.DONE, "alice", "for the course")
    walk()
    assert Request.get_by_id(bobs.id).state is RequestState.GRANTED
    assert [machine.state.value for machine in verbs.my_machines(bob.account_id)] == ["in_use"]
    assert inbox.my_work_items(alice) == []
    assert [one.id for one in inbox.over(alice)] == [waits.id]
    assert Event.get(Event.kind == "todo.done").message == "A manager says yes: alice said yes: for the course"


def test_a_no_needs_a_reason_and_refuses_the_request(bobs, walk, alice, bob):
    grant(alice, "approver")
    with pytest.raises(BadInput, match="Say why not"):
        inbox.decide(alice, todo().id, yes=False, comment="  ")
    with pytest.raises(BadInput, match="at most 1000"):
        inbox.decide(alice, todo().id, yes=True, comment="x" * 1001)
    inbox.decide(alice, todo().id, yes=False, comment="<b>Not</b> this week")
    walk()
    refused = Request.get_by_id(bobs.id)
    assert (refused.state, refused.reason) == (RequestState.REFUSED, "alice said no: <b>Not</b> this week")
    assert [one.id for one in run_verbs.refused(bob.account_id)] == [bobs.id]
    assert run_verbs.refused(bob.account_id, now() + timedelta(days=8)) == []
    with pytest.raises(NotFound):
        run_verbs.dismiss(alice, bobs.id)
    run_verbs.dismiss(bob, bobs.id)
    assert run_verbs.refused(bob.account_id) == []


def test_who_asks_again_is_told_no_more_of_the_last_no(bobs, walk, admin, bob):
    inbox.decide(admin, todo().id, yes=False, comment="No.")
    walk()
    verbs.request(bob, "small")
    assert run_verbs.refused(bob.account_id) == []


@pytest.mark.parametrize(
    ("role", "scope", "may"),
    [
        ("approver", {}, True),
        ("approver", {"over_class": "small"}, True),
        ("approver", {"over_class": "other"}, False),
        ("approver", {"over_unit": "theirs"}, True),
        ("approver", {"over_unit": "above"}, True),
        ("approver", {"over_unit": "beside"}, False),
        ("delegated_admin", {"over_unit": "theirs"}, True),  # has all that an approver has
        ("owner", {"over_class": "small"}, True),
        ("operator", {}, False),
        ("class_manager", {"over_class": "small"}, False),
        ("user", {}, False),
    ],
)
def test_who_may_is_who_holds_the_role_or_more_over_the_place(bobs, small, alice, bob, role, scope, may):
    with catalog.write():
        Class.insert({**small.__data__, "name": "other"}).execute()
        above = OrgUnit.create(parent=ROOT, name="above")
        units = {
            "above": above,
            "theirs": OrgUnit.create(parent=above, name="theirs"),
            "beside": OrgUnit.create(parent=ROOT, name="beside"),
        }
        Account.update(org_unit=units["theirs"]).where(Account.id == bob.account_id).execute()
    grant(alice, role, **{name: units.get(value, value) for name, value in scope.items()})
    assert bool(inbox.my_work_items(alice)) is bool(inbox.count(alice, permissions.of(alice))) is may
    assert (alice.account_id in approvers.of_todo(todo())) is may  # both ways of asking say the same
    if may:
        inbox.decide(alice, todo().id, yes=True)
    else:
        with pytest.raises(NotFound):
            inbox.decide(alice, todo().id, yes=True)
        assert todo().state is WorkItemState.OPEN


@pytest.mark.hostile
def test_a_delegate_makes_nobody_more_than_they_are_and_decides_nothing_that_asks_for_more(follow, walk, ready, admin, alice, bob):
    """The same permissions over a unit, another role: who is asked for a yes goes by the role."""
    follow(assign={"before": [{"name": "yes", "kind": "approval", "with": {"role": "owner"}}]})
    ready(1)
    unit = org_units.create_unit(admin, ROOT, "theirs").id
    org_units.move_people(admin, [bob.account_id, alice.account_id], unit)
    grant(alice, "delegated_admin", over_unit=unit)
    group = org_units.create_group(admin, "team", "", unit).id
    delegation.give(admin, "owner", Holder("group", group), over_unit=unit)
    verbs.request(bob, "small")
    walk()
    for holder in (Holder("account", alice.account_id), Holder("unit", unit)):
        with pytest.raises(NotAllowed, match="more than you hold"):
            delegation.give(alice, "owner", holder, over_unit=unit)
    with pytest.raises(NotAllowed):  # nor by a group that holds it
        org_units.add_members(alice, group, ["alice"])
    assert inbox.my_work_items(alice) == []
    with pytest.raises(NotFound):
        inbox.decide(alice, todo().id, yes=True)
    assert delegation.give(alice, "delegated_admin", Holder("account", bob.account_id), over_unit=unit)  # what they are themselves
    # Of an owner of the unit it is asked, and they can answer it: both go by one relation.
    org_units.add_members(admin, group, ["alice"])
    assert alice.account_id in approvers.of_todo(todo())
    assert [one.id for one in inbox.my_work_items(alice)] == [todo().id]


@pytest.mark.hostile
def test_who_is_asked_who_may_decide_and_who_may_pass_on_a_role_are_the_same(bobs, admin, alice, bob):
    """Every role asked of everybody who holds any, over any place: mail, page and delegation give one answer."""
    theirs, beside = (org_units.create_unit(admin, ROOT, name).id for name in ("theirs", "beside"))
    org_units.move_people(admin, [bob.account_id], theirs)
    scopes = {"everything": {}, "unit": {"over_unit": theirs}, "class": {"over_class": "small"}, "beside": {"over_unit": beside}}
    for held, (over, scope) in itertools.product(roles.ROLES, scopes.items()):
        with catalog.write():
            Grant.delete().where(Grant.account == alice.account_id).execute()
            Grant.create(role=held, account=alice.account_id, **scope)
        for wanted in set(roles.ROLES) - {"user"}:
            with catalog.write():
                WorkItem.update(role=wanted, escalated_at=None).execute()
            counts = over != "beside" and roles.ROLES[wanted].permissions <= roles.ROLES[held].permissions
            assert (alice.account_id in approvers.having(wanted, theirs, "small")) is counts
            assert bool(inbox.my_work_items(alice)) is (counts or (held, over) == ("owner", "everything"))
            assert permissions.of(alice).reach_as(wanted).covers(Location(frozenset({theirs}), frozenset({"small"}))) is counts


def test_a_role_counts_through_groups_and_units_and_only_while_it_lasts(bobs, alice):
    with catalog.write():
        group = Group.create(name="managers")
        Member.create(group=group, account=alice.account_id)
        row = Grant.create(role="approver", group=group, starts_at=now() + HOURS)
    assert inbox.my_work_items(alice) == []
    assert alice.account_id not in approvers.of_todo(todo())
    Grant.update(starts_at=None).where(Grant.id == row.id).execute()
    assert len(inbox.my_work_items(alice)) == 1
    assert alice.account_id in approvers.of_todo(todo())
    Grant.update(group=None, org_unit=ROOT, over_class="small").where(Grant.id == row.id).execute()
    assert len(inbox.my_work_items(alice)) == 1
    assert alice.account_id in approvers.of_todo(todo())
    Account.update(disabled=True).where(Account.id == alice.account_id).execute()
    assert alice.account_id not in approvers.of_todo(todo())


def test_nobody_says_yes_to_their_own_request_but_an_owner(follow, walk, ready, alice, admin):
    follow(assign={"before": [YES]})
    ready(2)
    grant(alice, "approver")
    verbs.request(alice, "small")
    walk()
    assert inbox.my_work_items(alice) == []
    with pytest.raises(NotFound):
        inbox.decide(alice, todo().id, yes=True)
    # Nobody else could: an owner is asked at once, and the record says why.
    assert "nobody else holds the role approver over this, so owners are asked" in Event.get(Event.kind == "todo.escalated").message
    assert approvers.of_todo(todo()) == [admin.account_id]
    inbox.decide(admin, todo().id, yes=True)
    verbs.request(admin, "small")
    walk()
    [own] = inbox.my_work_items(admin)
    inbox.decide(admin, own.id, yes=True)
    walk()
    assert {request.state for request in Request.select()} == {RequestState.GRANTED}


def test_what_is_done_by_hand_may_be_done_by_who_asked(follow, walk, ready, alice):
    follow(assign={"before": [{"name": "cable", "kind": "task", "with": {"text": "Plug it in.", "role": "operator"}}]})
    ready(1)
    grant(alice, "operator")
    asked_for = verbs.request(alice, "small")
    walk()
    [waits] = inbox.my_work_items(alice)
    inbox.decide(alice, waits.id, yes=True)
    walk()
    assert Request.get_by_id(asked_for.id).state is RequestState.GRANTED


def test_the_first_of_two_answers_counts(bobs, alice, admin, monkeypatch):
    grant(alice, "approver")
    inbox.decide(alice, todo().id, yes=True)
    with pytest.raises(Conflict, match=r"alice said yes already\. The first answer counts\."):
        inbox.decide(admin, todo().id, yes=False, comment="No")
    assert todo().state is WorkItemState.DONE


def test_two_answers_at_the_same_moment(bobs, alice, admin, monkeypatch):
    """The other answer comes between looking and writing."""
    look = inbox.get_work_item

    def late(actor, id):
        found = look(actor, id)
        assert work_items.decide(id, WorkItemState.REFUSED, "alice", "Too large")
        return found

    monkeypatch.setattr(inbox, "get_work_item", late)
    with pytest.raises(Conflict, match="alice said no already"):
        inbox.decide(admin, todo().id, yes=True)


def test_an_answer_that_comes_too_late(bobs, walk, admin):
    WorkItem.update(expires_at=now()).execute()
    with pytest.raises(Conflict, match="its time is over"):  # before the run has noticed
        inbox.decide(admin, todo().id, yes=True)
    Run.update(wake_at=now()).execute()
    walk()
    assert Request.get_by_id(bobs.id).state is RequestState.REFUSED
    assert "nobody answered in time" in Request.get_by_id(bobs.id).reason
    with pytest.raises(Conflict, match="its time is over"):
        inbox.decide(admin, todo().id, yes=True)


def test_an_answer_to_what_was_cancelled_meanwhile(bobs, walk, bob, admin):
    verbs.cancel_request(bob, bobs.id)
    with pytest.raises(Conflict, match="it was cancelled meanwhile"):  # before the run was undone
        inbox.decide(admin, todo().id, yes=True)
    walk()
    assert todo().state is WorkItemState.WITHDRAWN
    with pytest.raises(Conflict, match="it was cancelled meanwhile"):
        inbox.decide(admin, todo().id, yes=True)
    assert Run.get().state is RunState.CANCELLED


def named(follow, walk, ready, bob, **more):
    follow(assign={"before": [{**YES, "with": {"account": "alice", **more}}]})
    ready(1)
    verbs.request(bob, "small")
    walk()


def test_one_person_is_asked_and_nobody_else(follow, walk, ready, alice, bob, admin):
    carol = account("carol")
    grant(carol, "approver")
    named(follow, walk, ready, bob)
    assert (len(inbox.my_work_items(alice)), len(inbox.my_work_items(carol))) == (1, 0)
    assert approvers.of_todo(todo()) == [alice.account_id]


@pytest.mark.parametrize("before", [True, False], ids=["before it is asked", "while it waits"])
@pytest.mark.parametrize("how", ["disabled", "deleted"])
def test_an_approver_who_no_longer_exists_holds_nothing_up(follow, walk, ready, alice, bob, admin, how, before):
    mail_on()

    def go():
        if how == "disabled":
            Account.update(disabled=True).where(Account.id == alice.account_id).execute()
        else:
            Account.delete().where(Account.id == alice.account_id).execute()

    if before:
        go()
    named(follow, walk, ready, bob)
    if not before:
        assert written() == [(f"{todo().id}-open", "alice")]
        go()
        assert len(inbox.my_work_items(admin)) == 1  # could always
        notice_gone()
        notice_gone()  # says it once
    [told] = Event.select().where(Event.kind == "todo.escalated")
    assert "so owners are asked" in told.message
    assert (f"{todo().id}-open", "admin") in written()
    inbox.decide(admin, todo().id, yes=True)
    walk()
    assert Request.get().state is RequestState.GRANTED


def test_a_role_that_nobody_holds_any_more_is_noticed(bobs, alice, admin):
    assert Event.select().where(Event.kind == "todo.escalated").count() == 1  # nobody held it to begin with
    grant(alice, "approver")
    WorkItem.update(escalated_at=None).execute()
    notice_gone()
    assert todo().escalated_at is None
    Grant.delete().where(Grant.account == alice.account_id).execute()
    notice_gone()
    assert todo().escalate_role == "owner"


def test_after_a_while_others_are_asked_as_well(follow, walk, ready, alice, bob, admin):
    carol = account("carol")
    grant(carol, "delegated_admin", over_class="small")
    mail_on()
    named(follow, walk, ready, bob, escalate="24h", escalate_to="delegated_admin", expires="72h")
    assert inbox.my_work_items(carol) == []
    walk(now() + 25 * HOURS)
    assert len(inbox.my_work_items(carol)) == len(inbox.my_work_items(alice)) == 1
    assert written() == [(f"{todo().id}-open", "alice"), (f"{todo().id}-open", "carol")]
    walk(now() + 73 * HOURS)
    assert (todo().state, Run.get().state) == (WorkItemState.EXPIRED, RunState.FAILED)


def test_mail_goes_to_who_is_asked_and_then_to_who_waits(bobs, walk, follow, ready, alice, bob, admin):
    assert written() == []  # e-mail is not set up
    mail_on()
    carol = account("carol")
    for who in (alice, carol):
        grant(who, "approver")
    verbs.request(bob, "small")
    walk()
    latest = WorkItem.select().order_by(WorkItem.id.desc()).get()
    assert written() == [(f"{latest.id}-open", "alice"), (f"{latest.id}-open", "carol")]
    letter = OutgoingMail.select().where(OutgoingMail.account == carol.account_id).get()
    assert (letter.subject, letter.path) == ("A manager says yes: Bob, for: Small machine", f"/todo/#todo-{latest.id}")
    OutgoingMail.delete().execute()
    inbox.decide(alice, latest.id, yes=False, comment="Not now")
    assert written() == [(f"{latest.id}-answer", "bob"), (f"{latest.id}-decided", "carol")]


def test_what_somebody_gave_does_not_show_what_waits_for_others(bobs, alice):
    assert (inbox.my_work_items(alice), inbox.over(alice), inbox.count(alice, permissions.of(alice))) == ([], [], 0)
    with pytest.raises(NotFound):
        inbox.get_work_item(alice, todo().id)
    with pytest.raises(NotFound):
        inbox.get_work_item(alice, 10**18)


def test_a_thousand_open_ones_are_counted_by_their_index(bobs, alice, admin, monkeypatch):
    grant(alice, "approver", over_unit=ROOT)
    held = permissions.of(alice)
    with statements(monkeypatch) as seen:
        inbox.count(alice, held)
        inbox.my_work_items(alice)
        inbox.over(alice)
        work_items.unheard()
    assert len(seen) <= 11
    assert scans(seen) == []
