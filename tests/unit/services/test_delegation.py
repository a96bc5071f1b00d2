"""Roles, groups, org units and quotas: who comes to hold what, and that nobody comes to hold more than whoever gave it."""

import itertools
import threading
from datetime import timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from appliance import catalog
from appliance.catalog import ROOT, Account, Actor, Class, Event, Grant, Group, Lease, Member, Nesting, OrgUnit, Quota, Request, now
from appliance.catalog.grants import Location
from appliance.errors import BadInput, Conflict, DpeError, NotAllowed, NotFound
from appliance.identity import permissions, roles
from appliance.lifecycle import outcomes
from appliance.services import accounts, delegation, importing, machines, moves, org_units
from appliance.services.delegation import Holder


def person(name: str, unit: int = ROOT) -> Actor:
    with catalog.write():
        return Actor(name, Account.create(name=name, password="!", org_unit=unit).id, "127.0.0.1")


def it_is(actor: Actor) -> Holder:
    return Holder("account", actor.account_id or 0)


def all_powers() -> dict[int, set[tuple[str, object]]]:
    """Everything that everybody may do, now or later: account -> permissions over appliance, units and classes."""
    over: list[tuple[object, Location]] = [
        ("appliance", Location()),
        *((f"unit {unit.id}", Location(units=frozenset({unit.id}))) for unit in OrgUnit.select()),
        *((f"class {machine_class.name}", Location(classes=frozenset({machine_class.name}))) for machine_class in Class.select()),
    ]
    found = {}
    for account in Account.select():
        mine = permissions.of_account(account.id)
        reaches = {name: mine.reach(name) for name in roles.PERMISSIONS}
        found[account.id] = {(name, at) for name, reach in reaches.items() for at, place in over if reach.covers(place)}
    return found


@pytest.fixture
def school(small, admin):
    """Two units side by side, one with a unit below it; a head who looks after the first."""
    science, arts = org_units.create_unit(admin, ROOT, "Science"), org_units.create_unit(admin, ROOT, "Arts")
    physics = org_units.create_unit(admin, science.id, "Physics")
    head = person("head")
    delegation.give(admin, "delegated_admin", it_is(head), over_unit=science.id)
    return {"science": science.id, "arts": arts.id, "physics": physics.id, "head": head}


def test_a_role_comes_through_units_and_groups_in_groups(small, admin, school):
    ada = person("ada", school["physics"])
    org_units.create_group(admin, "inner", "", ROOT)
    inner, outer = Group.get(Group.name == "inner"), org_units.create_group(admin, "outer", "", ROOT)
    org_units.nest(admin, outer.id, inner.id)
    org_units.add_members(admin, inner.id, ["ada"])
    delegation.give(admin, "class_manager", Holder("group", outer.id), over_class="small")
    delegation.give(admin, "operator", Holder("unit", school["science"]))
    mine = permissions.of(ada)
    assert mine.reach("classes.manage").classes == {"small"}
    assert mine.reach("machines.manage").everything
    assert not mine.has("people.manage")
    [reason] = delegation.why(admin, Account.get_by_id(ada.account_id), "classes.manage")
    assert reason.chain == ["ada", "group inner", "group outer"]
    [through_unit] = [r for r in delegation.why(admin, Account.get_by_id(ada.account_id)) if r.grant.role == "operator"]
    assert through_unit.chain == ["ada", "org unit Physics", "org unit Science"]


def test_grants_begin_and_end(admin, alice):
    begins, ends = now() + timedelta(hours=1), now() + timedelta(hours=2)
    grant = delegation.give(admin, "operator", it_is(alice), starts_at=begins, ends_at=ends)
    assert not permissions.of(alice).has("machines.manage")
    Grant.update(starts_at=now() - timedelta(hours=1)).where(Grant.id == grant.id).execute()
    assert permissions.of(alice).has("machines.manage")
    Grant.update(ends_at=now()).where(Grant.id == grant.id).execute()
    assert not permissions.of(alice).has("machines.manage")
    assert [r.state for r in delegation.why(admin, Account.get_by_id(alice.account_id), "machines.manage")] == ["over"]


def test_a_delegate_stays_within_what_they_hold_and_look_after(admin, school):
    head, ada, bob = school["head"], person("ada", school["physics"]), person("bob", school["arts"])
    delegation.give(head, "approver", it_is(ada), over_unit=school["physics"])
    assert permissions.of(ada).reach("requests.approve").units == {school["physics"]}
    with pytest.raises(NotFound):  # somebody whom they do not look after does not exist for them
        delegation.give(head, "approver", it_is(bob), over_unit=school["physics"])
    for role, over in (("approver", school["arts"]), ("delegated_admin", ROOT)):
        with pytest.raises(NotAllowed, match="more than you hold"):
            delegation.give(head, role, it_is(ada), over_unit=over)
    with pytest.raises(NotAllowed, match="more than you hold"):
        delegation.give(head, "operator", it_is(ada))
    with pytest.raises(NotAllowed, match="outside of what you look after"):
        delegation.give(ada, "approver", it_is(ada), over_unit=school["physics"])


def refusal(do, *arguments, **values) -> tuple[type, str, str, str]:
    """What somebody is told who may not."""
    with pytest.raises(DpeError) as caught:
        do(*arguments, **values)
    problems = " ".join(getattr(caught.value, "problems", []))
    return type(caught.value), f"{caught.value.message} {problems}", caught.value.hint, str(caught.value.field)


def test_no_refusal_tells_a_delegate_what_there_is_elsewhere(ready, small, admin, school):
    """Names are the whole appliance's: one that is taken elsewhere is refused as a reserved one is, and what is elsewhere as what there is not."""
    head, science, arts = school["head"], school["science"], school["arts"]
    person("elsewhere", arts)
    person("ada", school["physics"])
    org_units.create_group(admin, "painters", "", arts)
    org_units.create_group(head, "chemists", "", science)
    for name in ("elsewhere", "engine", "ENGINE", "dpe-host"):
        assert refusal(accounts.create, head, name, org_unit_id=science) == (
            Conflict, f"The name {name} cannot be used. ", "Pick another name.", "name",
        )  # fmt: skip
        assert f"Line 2: the name {name} cannot be used." in refusal(importing.people, head, f"name\n{name}\n".encode(), science)[1]
    assert "already an account ada" in refusal(accounts.create, head, "ada", org_unit_id=science)[1]
    assert "already an account elsewhere" in refusal(accounts.create, admin, "elsewhere")[1]
    assert "already an account ada" in refusal(importing.people, head, b"name\nada\n", science)[1]
    assert "already an account elsewhere" in refusal(importing.people, admin, b"name\nelsewhere\n")[1]
    assert refusal(org_units.create_group, head, "painters", "", science)[1] == "The name painters cannot be used. "
    assert "already a group chemists" in refusal(org_units.create_group, head, "chemists", "", science)[1]
    assert refusal(org_units.change_unit, head, science, name="Arts", parent_id=None)[1] == "The name Arts cannot be used. "
    assert "already an org unit Physics" in refusal(org_units.create_unit, head, science, "Physics")[1]

    # A role over what is elsewhere, and over what there is not.
    ada = Holder("account", Account.get(Account.name == "ada").id)
    units = {refusal(delegation.give, head, "approver", ada, over_unit=unit) for unit in (arts, 999)}
    classes = {refusal(delegation.give, head, "class_manager", ada, over_class=name) for name in ("small", "nosuch")}
    assert (len(units), len(classes)) == (1, 1)

    Grant.delete().where(Grant.role == "user").execute()  # else everybody knows every class
    quotas = {refusal(delegation.set_quota, head, ada, {"machines": 1}, each=True, class_name=name) for name in ("small", "nosuch")}
    assert len(quotas) == 1

    # A machine passed on to somebody elsewhere, and to nobody.
    ready(1)
    user = delegation.give(admin, "user", ada, over_class="small")
    machine = machines.request(Actor("ada", ada.id), "small").machine_id
    user.delete_instance()
    for giver in (head, person("keeper")):
        if giver.name == "keeper":
            delegation.give(admin, "class_manager", it_is(giver), over_class="small")
        told = {to: refusal(moves.transfer, giver, machine, to) for to in ("elsewhere", "nobodyatall")}
        assert told["elsewhere"] == (BadInput, "There is no account elsewhere. ", "Check the name.", "to")
        assert told["nobodyatall"] == (BadInput, "There is no account nobodyatall. ", "Check the name.", "to")
        assert "ada's already" in refusal(moves.transfer, giver, machine, "ada")[1] or giver.name == "keeper"
    delegation.give(admin, "user", it_is(Actor("elsewhere", Account.get(Account.name == "elsewhere").id)), over_class="small")
    assert (
        "no account" not in refusal(moves.transfer, giver, machine, "elsewhere")[1]
    )  # who may use the class is within its manager's reach


def test_nothing_is_passed_on_for_longer_than_it_is_held(admin, school):
    deputy, ada = person("deputy", school["science"]), person("ada", school["physics"])
    ends = now() + timedelta(days=7)
    delegation.give(admin, "delegated_admin", it_is(deputy), over_unit=school["science"], ends_at=ends)
    with pytest.raises(NotAllowed, match="more than you hold"):
        delegation.give(deputy, "approver", it_is(ada), over_unit=school["physics"])
    delegation.give(deputy, "approver", it_is(ada), over_unit=school["physics"], ends_at=ends)


def test_bringing_somebody_in_needs_all_that_they_would_get(admin, school):
    head, ada = school["head"], person("ada", school["science"])
    trusted = org_units.create_group(admin, "trusted", "", school["science"])
    delegation.give(admin, "class_manager", Holder("group", trusted.id), over_class="small")
    delegation.give(admin, "class_manager", Holder("unit", school["physics"]), over_class="small")
    with pytest.raises(NotAllowed, match="more than you do"):
        org_units.add_members(head, trusted.id, ["ada"])
    with pytest.raises(NotAllowed, match="more than you do"):
        org_units.move_people(head, [ada.account_id], school["physics"])
    with pytest.raises(NotAllowed, match="more than you do"):
        accounts.create(head, "eve", "a long password", org_unit_id=school["physics"])
    org_units.move_people(admin, [ada.account_id], school["physics"])
    with pytest.raises(NotAllowed, match="may do more than you"):
        accounts.set_password(head, ada.account_id, "a long password")


def test_the_last_owner_stays(admin, alice):
    [grant] = Grant.select().where(Grant.role == "owner")
    with pytest.raises(Conflict, match="only owner"):
        delegation.take_away(admin, [grant.id])
    delegation.give(admin, "owner", it_is(alice))
    delegation.take_away(alice, [grant.id])
    assert not permissions.of(admin).has("people.manage")
    taken = Event.select().where(Event.kind == "grant.taken").get()
    assert (taken.actor, taken.object, taken.data["before"]["role"]) == ("alice", "account:admin", "owner")


@pytest.mark.badinput
def test_grants_that_make_no_sense_are_refused(admin, alice, small, school):
    me = it_is(alice)
    with pytest.raises(BadInput, match="no such role"):
        delegation.give(admin, "king", me)
    with pytest.raises(BadInput, match="would allow nothing"):
        delegation.give(admin, "user", me, over_unit=school["arts"])
    with pytest.raises(BadInput, match="before it begins"):
        delegation.give(admin, "user", me, ends_at=now() - timedelta(days=1))
    with pytest.raises(NotFound):
        delegation.give(admin, "user", me, over_class="nosuch")
    with pytest.raises(BadInput, match="There is no account nobody"):
        delegation.find_holder(admin, "account", "nobody")
    delegation.give(admin, "operator", me)
    with pytest.raises(Conflict, match="hold that already"):
        delegation.give(admin, "operator", me)


@pytest.mark.badinput
def test_no_circles_and_nothing_lost(admin, school):
    with pytest.raises(Conflict, match="below itself"):
        org_units.change_unit(admin, school["science"], name="Science", parent_id=school["physics"])
    with pytest.raises(Conflict, match="not empty"):
        org_units.remove_unit(admin, school["science"])
    with pytest.raises(Conflict, match="already an org unit"):
        org_units.create_unit(admin, ROOT, "science")
    a, b = org_units.create_group(admin, "a", "", ROOT), org_units.create_group(admin, "b", "", ROOT)
    org_units.nest(admin, a.id, b.id)
    with pytest.raises(Conflict, match="circle"):
        org_units.nest(admin, b.id, a.id)
    with pytest.raises(BadInput, match="no account ghost"):
        org_units.add_members(admin, a.id, ["admin", "ghost"])
    assert not Member.select().count()
    Nesting.insert(outer=b.id, inner=a.id).execute()  # a circle that came in some other way ends nothing
    org_units.add_members(admin, a.id, ["admin"])
    assert permissions.of(admin).has("machines.use")


STEP = st.tuples(
    st.sampled_from(["give", "give", "give", "join", "nest", "move", "move_unit", "create", "take"]),
    st.integers(0, 5), st.integers(0, 7), st.integers(0, 7), st.sampled_from(list(roles.ROLES)), st.booleans(),
)  # fmt: skip


def test_no_sequence_of_delegations_yields_what_the_first_grantor_did_not_hold(admin, small, opened):
    """Two delegates, and all whom they raise, do whatever they like; nobody ever holds more than was handed to those two."""
    count = itertools.count()
    with catalog.write():
        values = {"minimum": 0, "maximum": 1, "buffer": 0, "lease_minutes": 60, "extend_minutes": 0, "extensions": 0, "per_person": 1}
        Class.create(name="other", spec=small.spec, **values)

    @settings(max_examples=30, suppress_health_check=list(HealthCheck))
    @given(st.lists(STEP, min_size=1, max_size=25))
    def any_sequence(steps):
        with catalog.write():
            for model in (Grant, Quota, Nesting, Member, Group):
                model.delete().execute()
            Account.delete().where(Account.name != "admin").execute()
            OrgUnit.update(parent=ROOT).where(OrgUnit.id != ROOT).execute()
            OrgUnit.delete().where(OrgUnit.id != ROOT).execute()
            Grant.create(role="owner", account=admin.account_id)
            Grant.create(role="user", org_unit=ROOT)
        units = [ROOT, *(org_units.create_unit(admin, ROOT, name).id for name in ("a", "b"))]
        units.append(org_units.create_unit(admin, units[1], "a1").id)
        units.append(org_units.create_unit(admin, units[3], "a11").id)
        who = [person(f"p{next(count)}", unit) for unit in (units[1], units[1], units[3], units[3], units[2], ROOT)]
        groups = [org_units.create_group(admin, f"g{n}", "", unit).id for n, unit in enumerate((units[1], units[3], units[2]))]
        delegation.give(admin, "class_manager", Holder("group", groups[1]), over_class="small")  # something worth stealing
        delegation.give(admin, "operator", Holder("unit", units[4]))
        delegation.give(admin, "delegated_admin", it_is(who[0]), over_unit=units[1])
        delegation.give(admin, "delegated_admin", it_is(who[4]), over_class="other")
        ids = {actor.account_id for actor in who}
        held = all_powers()
        most = set().union(*(held[id] for id in ids))
        before = {id: held[id] for id in ids}
        handed = {"science": held[who[0].account_id], "class": held[who[4].account_id]}
        worked = False
        for verb, by, first, second, role, flag in steps:
            actor = who[by % len(who)]
            target = who[first % len(who)]
            holder = [it_is(target), Holder("group", groups[second % 3]), Holder("unit", units[second % 5])][first % 3]
            try:
                if verb == "give":
                    over = (
                        {"over_unit": units[second % 5]} if flag else {"over_class": ("small", "other")[second % 2]} if second < 6 else {}
                    )
                    delegation.give(actor, role, holder, **over)
                elif verb == "join":
                    org_units.add_members(actor, groups[second % 3], [target.name])
                elif verb == "nest":
                    org_units.nest(actor, groups[first % 3], groups[second % 3])
                elif verb == "move":
                    org_units.move_people(actor, [target.account_id], units[second % 5])
                elif verb == "move_unit":
                    org_units.change_unit(actor, units[first % 5], name=f"u{first % 5}", parent_id=units[second % 5])
                elif verb == "create":
                    made = accounts.create(actor, f"n{next(count)}", "a long password", org_unit_id=units[second % 5])
                    before[made.id] = set()
                    who.append(Actor(made.name, made.id))
                else:
                    delegation.take_away(actor, [grant.id for grant in Grant.select().limit(1).offset(first)])
                worked = True
            except DpeError:
                continue
        if not worked:
            return
        for id, now_held in all_powers().items():
            if id != admin.account_id:
                gained = now_held - before[id]
                assert gained <= most
                assert all(any((permission, at) in source for source in handed.values()) for permission, at in gained), gained

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("appliance.services.accounts.passwords.digest", lambda _: "!")
        any_sequence()


@pytest.mark.quota
def test_every_level_binds(ready, small, admin, school):
    ready(9)
    Class.update(per_person=9).execute()
    ada, bob = person("ada", school["physics"]), person("bob", school["physics"])
    delegation.set_quota(admin, Holder("unit", school["science"]), {"memory": 3 * 256}, each=False)
    delegation.set_quota(admin, Holder("unit", school["physics"]), {"machines": 2}, each=True)
    machines.request(ada, "small")
    machines.request(ada, "small")
    with pytest.raises(Conflict, match=r"Your quota: 2 of 2 machines in use\. Give something back"):
        machines.request(ada, "small")
    [offer] = machines.offers(bob.account_id)
    assert (offer.allowance.left, offer.allowance.reason) == (1, "The quota of Science: 512 of 768 MiB of memory in use")
    machines.request(bob, "small")
    [offer] = machines.offers(bob.account_id)
    assert offer.refusal == "The quota of Science: 768 of 768 MiB of memory in use."
    with pytest.raises(Conflict, match="The quota of Science"):
        machines.request(bob, "small")


@pytest.mark.quota
def test_groups_bind_their_members_together_and_waiting_counts(small, admin, alice, bob):
    outer, inner = org_units.create_group(admin, "outer", "", ROOT), org_units.create_group(admin, "inner", "", ROOT)
    org_units.nest(admin, outer.id, inner.id)
    org_units.add_members(admin, inner.id, ["alice"])
    org_units.add_members(admin, outer.id, ["bob"])
    delegation.set_quota(admin, Holder("group", outer.id), {"vcpus": 1}, each=False, class_name="small")
    machines.request(alice, "small")
    assert Request.get().state == catalog.RequestState.WAITING
    with pytest.raises(Conflict, match="The quota of outer: 1 of 1 processors"):
        machines.request(bob, "small")


@pytest.mark.quota
def test_a_lease_is_no_longer_than_the_quota_and_extended_no_further(ready, small, admin, alice, bob):
    ready(1)
    delegation.set_quota(admin, it_is(alice), {"lease_minutes": 40}, each=True)
    asked = machines.request(alice, "small")
    lease = Lease.get()
    assert lease.ends_at - lease.began_at <= timedelta(minutes=40, seconds=1)
    with pytest.raises(Conflict, match="as long as a quota allows"):
        machines.extend(alice, asked.machine_id)
    machines.request(alice, "small")
    ready(1)
    assert outcomes.serve_waiting("small") == 1
    served = Lease.select().order_by(Lease.id.desc()).get()
    assert served.ends_at - served.began_at <= timedelta(minutes=40, seconds=1)


@pytest.mark.quota
def test_a_grant_may_bring_a_quota_that_ends_with_it(ready, small, admin, alice):
    grant = delegation.give(admin, "class_manager", it_is(alice), over_class="small", limits={"machines": 0})
    with pytest.raises(Conflict, match="0 of 0 machines"):
        machines.request(alice, "small")
    delegation.take_away(admin, [grant.id])
    assert not Quota.select().count()
    machines.request(alice, "small")


@pytest.mark.quota
def test_whom_a_quota_binds_does_not_change_it(admin, school):
    head = school["head"]
    quota = delegation.set_quota(admin, Holder("unit", school["science"]), {"machines": 5}, each=False)
    with pytest.raises(NotAllowed, match="binds you"):
        delegation.remove_quota(head, quota.id)
    with pytest.raises(NotAllowed, match="binds you"):
        delegation.set_quota(head, Holder("unit", school["science"]), {"machines": 50}, each=False)
    delegation.set_quota(head, Holder("unit", school["physics"]), {"machines": 50}, each=False)
    with pytest.raises(NotFound):
        delegation.set_quota(head, Holder("unit", school["arts"]), {"machines": 1}, each=False)


@pytest.mark.quota
def test_two_hundred_claims_at_once_with_a_quota_of_three_end_with_three(ready, small, admin, alice):
    ready(210)
    Class.update(per_person=1000, maximum=1000).execute()
    delegation.set_quota(admin, it_is(alice), {"machines": 3}, each=True)
    start, refused = threading.Barrier(20), []

    def claim() -> None:
        start.wait()
        for _ in range(10):
            try:
                machines.request(alice, "small")
            except Conflict as error:
                refused.append(error)
        catalog.close()

    threads = [threading.Thread(target=claim) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(refused) == 197
    assert Lease.select().where(Lease.ended_at.is_null()).count() == 3


@pytest.mark.quota
@pytest.mark.badinput
def test_quotas_that_make_no_sense_are_refused(admin, alice):
    for limits, words in (({"machines": -1}, "cannot be -1"), ({"machines": None}, "limits nothing"), ({"lease_minutes": 0}, "no lease")):
        with pytest.raises(BadInput, match=words):
            delegation.set_quota(admin, it_is(alice), limits, each=True)
    assert not Quota.select().count()
