"""What people choose: built when it is asked for first, the same for everybody, kept ready when many ask, and gone when nobody does."""

import json
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from appliance import catalog
from appliance.catalog import (
    Account,
    Actor,
    Class,
    Event,
    EventKind,
    Favourite,
    Grant,
    Machine,
    MachineState,
    OutgoingMail,
    Quota,
    Recipe,
    Request,
    RequestState,
    Seed,
    SeedState,
    Sequence,
    VersionState,
    machines,
    now,
    options,
    policies,
    seeds,
    sequences,
)
from appliance.engine import Engine
from appliance.engine.scenario import adopt
from appliance.errors import BadInput, Conflict, DpeError, NotFound
from appliance.lifecycle import recipes as keeping
from appliance.lifecycle import seed_builds
from appliance.outbound import mail_outbox
from appliance.scenario import choice
from appliance.services import choices, classes, overview, preferences, scenarios
from appliance.services import machines as verbs
from appliance.settings import Settings
from tests.choosing import SCENARIO, Builds, fake_builds, write
from tests.unit.engine.fake import FakeProvider, settle

pytestmark = pytest.mark.choice
S, R = MachineState, RequestState


@pytest.fixture
def shop(opened: Settings, tmp_path: Path) -> Settings:
    """An appliance with a class that leaves something open, which alice and bob may use."""
    settings = replace(opened, scenario=write(tmp_path))
    scenarios.follow_folder(settings)
    assert adopt(settings) is not None
    with catalog.write():
        options.put("setup_done", True)
        options.put("mail", {"on": True})
    return settings


@pytest.fixture
def people(alice: Actor, bob: Actor) -> tuple[Actor, Actor]:
    Grant.delete().where(Grant.org_unit.is_null(False)).execute()  # which everybody has over all classes
    for one in (alice, bob):
        Grant.create(role="user", account=one.account_id, over_class="studio")
        Account.update(email=f"{one.name}@example.org").where(Account.id == one.account_id).execute()
    return alice, bob


@pytest.fixture
def builds(monkeypatch: pytest.MonkeyPatch) -> Builds:
    monkeypatch.setattr(mail_outbox, "send_due", lambda: None)  # letters stay where they were put
    return fake_builds(monkeypatch)


@pytest.fixture
def engine(shop: Settings, builds: Builds) -> Iterator[Engine]:
    made = Engine(shop, FakeProvider())
    yield made
    made.stop()
    made.close()


def ask(who: Actor, lease: int | None = None, **values: object) -> Request:
    studio = choices.open_class(who, "studio")
    return choices.request(who, studio, choices.read(studio, values), lease)


def settled(engine: Engine, *asked: Request) -> None:
    """Go on until all of these are decided."""
    for _ in range(20):
        if all(again(one).state in (R.GRANTED, R.REFUSED) for one in asked):
            return
        settle(engine, 1)
    raise AssertionError([again(one).state for one in asked])


def again(asked: Request) -> Request:
    found: Request = Request.get_by_id(asked.id)
    return found


def seeds_of_recipes() -> list[Seed]:
    return list(Seed.select().where(Seed.machine_class != "studio"))


def test_what_was_never_made_is_built_and_the_next_one_gets_it_without_a_build(
    engine: Engine, builds: Builds, shop: Settings, people: tuple[Actor, Actor]
) -> None:
    alice, bob = people
    first = ask(alice, 120, os="debian-12", applications=["b", "a"])
    assert first.state is R.WAITING
    [offer] = [one for one in verbs.offers(alice.account_id) if one.request]
    assert offer.machine_class.spec["title"] == "Studio: Debian 12, a, b"
    settled(engine, first)
    assert again(first).state is R.GRANTED
    [job] = builds.jobs
    assert (job.spec.os, job.spec.roles, job.layered) == ("debian-12", ["base", "a", "b"], True)
    lease = machines.lease_of(again(first).machine_id or "")
    assert lease is not None
    assert round((lease.ends_at - lease.began_at) / timedelta(minutes=1)) == 120
    [told] = [mail for mail in OutgoingMail.select() if mail.about.startswith("recipe")]
    assert (told.account_id, "is ready" in told.subject) == (alice.account_id, True)
    second = ask(bob, os="debian-12", applications=["a", "b"])
    settled(engine, second)
    assert again(second).state is R.GRANTED
    assert again(second).class_name == first.class_name
    assert len(builds.jobs) == 1
    assert Recipe.select().count() == 1
    assert [one.name for one in classes.everything()] == ["studio"], "what people chose is no class of the admin's"
    engine.stop()
    adopt(shop)
    assert Class.get_by_id(first.class_name).enabled, "a start leaves it"


def test_memory_makes_no_other_seed(engine: Engine, builds: Builds, shop: Settings, people: tuple[Actor, Actor]) -> None:
    small, large = ask(people[0], applications=["a"]), ask(people[1], applications=["a"], memory=512)
    settled(engine, small, large)
    assert [again(one).state for one in (small, large)] == [R.GRANTED, R.GRANTED]
    assert len(builds.jobs) == 1
    assert Machine.get(Machine.id == again(large).machine_id).memory == 512
    one, other = seeds_of_recipes()
    assert (shop.seeds / one.name / "disk.qcow2").samefile(shop.seeds / other.name / "disk.qcow2")


def test_one_that_fails_is_refused_with_the_reason_and_holds_up_nobody(engine: Engine, builds: Builds, people: tuple[Actor, Actor]) -> None:
    builds.fails["a"] = DpeError("The role a failed.", "Correct it.")
    bad, good = ask(people[0], applications=["a"]), ask(people[1], applications=["b"])
    settled(engine, bad, good)
    assert again(bad).state is R.REFUSED
    assert again(bad).reason == "Studio: Debian 13, a could not be built: The role a failed. Correct it."
    assert again(good).state is R.GRANTED
    builds.fails.clear()
    retried = ask(people[0], applications=["a"])
    settled(engine, retried)
    assert again(retried).state is R.GRANTED, "asking again builds again"


def test_an_approval_comes_before_the_build(engine: Engine, builds: Builds, people: tuple[Actor, Actor]) -> None:
    around = {"assign": {"before": [{"name": "boss", "kind": "approval"}]}}
    with catalog.write():
        Sequence.create(name="ours", title="Ours")
        sequences.add("ours", json.dumps(around), VersionState.PROMOTED)
        policies.change(Class.get_by_id("studio"), {"sequence": "ours"})
    asked = ask(people[0], applications=["a"])
    settle(engine, 3)
    assert (asked.state, builds.jobs) == (R.PENDING, [])


def test_quotas_per_person_and_grants_are_those_of_the_class(engine: Engine, people: tuple[Actor, Actor], admin: Actor) -> None:
    alice, bob = people
    ask(alice, applications=["a"])
    ask(alice, applications=["b"])
    with pytest.raises(Conflict, match="You hold 2 of 2 already"):
        ask(alice, applications=["a", "b"])
    Quota.create(account=bob.account_id, each=True, class_name="studio", memory=300)
    with pytest.raises(Conflict, match="0 of 300 MiB of memory"):
        ask(bob, applications=["a"], memory=1024)
    assert ask(bob, applications=["a"]).state is R.WAITING
    with pytest.raises(Conflict, match="256 of 300"):
        ask(bob)
    Grant.delete().where(Grant.account == bob.account_id).execute()
    with pytest.raises(NotFound):
        verbs.request(bob, Recipe.get().class_name)
    classes.set_enabled(admin, "studio", enabled=False)
    assert not Class.get_by_id(Recipe.get().class_name).enabled


@pytest.mark.badinput
def test_what_is_not_offered_is_refused_at_its_field(shop: Settings, people: tuple[Actor, Actor]) -> None:
    for values, field in (
        ({"os": "windows"}, "os"), ({"applications": ["c"]}, "applications"), ({"packages": ["No!"]}, "packages"), ({"memory": 128}, "memory"),
        ({"memory": 2048}, "memory"), ({"disk": 5}, "disk"), ({"packages": [f"p{n}" for n in range(31)]}, "packages"),
    ):  # fmt: skip
        with pytest.raises(BadInput) as refused:
            ask(people[0], **values)
        assert refused.value.field == field
    for lease in (0, 241):
        with pytest.raises(BadInput, match="A lease cannot last"):
            ask(people[0], lease)
    assert Recipe.select().count() == 0


def test_the_maximum_of_a_class_binds_all_that_is_chosen_of_it(engine: Engine, people: tuple[Actor, Actor]) -> None:
    alice, bob = people
    studio = Class.get_by_id("studio")
    with catalog.write():
        policies.change(studio, {"maximum": 2})
    assert not choices.outlook(bob, studio, choices.read(studio, {"applications": ["b"]})).is_full
    held = [ask(alice, applications=["a"]), ask(alice, applications=["b"])]
    settled(engine, *held)
    late = ask(bob, applications=["a", "b"])
    settle(engine, 8)
    assert (again(late).state, Machine.select().where(Machine.state != S.RETIRED).count()) == (R.WAITING, 2)
    assert "the maximum of 2 machines of studio" in Class.get_by_id(late.class_name).limit_reason
    assert choices.outlook(bob, studio, choices.read(studio, {"applications": ["b"]})).is_full
    assert {(one.exist, one.maximum, one.base) for one in overview.pools()} == {(2, 2, ""), (2, 2, "studio")}
    verbs.release(alice, again(held[0]).machine_id or "")
    settled(engine, late)
    assert again(late).state is R.GRANTED


def test_what_is_chosen_follows_its_class(engine: Engine, shop: Settings, people: tuple[Actor, Actor], admin: Actor) -> None:
    name = ask(people[0], applications=["a"]).class_name
    classes.change_policy(admin, "studio", classes.Form.POLICY, {"per_person": 1})
    assert Class.get_by_id(name).per_person == 1
    scenarios.save_text(admin, SCENARIO.replace("applications: [a, b]", "applications: [b]"), seen=1)
    adopt(shop)
    assert not Class.get_by_id(name).enabled, "it cannot be chosen any more"


def test_what_many_ask_for_is_kept_ready_and_what_nobody_does_goes(
    engine: Engine, shop: Settings, people: tuple[Actor, Actor], admin: Actor
) -> None:
    alice, bob = people
    often, seldom = [ask(alice, applications=["a"]), ask(bob, applications=["a"])], ask(alice, applications=["b"])
    settled(engine, *often, seldom)
    keeping.tidy(shop)
    assert (Class.get_by_id(often[0].class_name).buffer, Class.get_by_id(seldom.class_name).buffer) == (1, 0)
    settle(engine, 4)
    assert Machine.select().where(Machine.machine_class == often[0].class_name, Machine.state == S.READY).count() == 1
    verbs.release(alice, again(seldom).machine_id or "")
    settle(engine, 4)
    Recipe.update(used_at=now() - timedelta(days=29)).where(Recipe.machine_class == seldom.class_name).execute()
    keeping.tidy(shop)
    [gone] = [one for one in seeds_of_recipes() if one.class_name == seldom.class_name]
    assert gone.stored, "a month it stays"
    preferences.keep_choices(admin, shop, days=28, space=20)
    keeping.tidy(shop)
    settle(engine, 2)
    assert not Seed.get_by_id(gone.id).stored
    assert not (shop.seeds / gone.name).exists()
    keeping.tidy(shop)
    assert Class.get_or_none(Class.name == seldom.class_name) is None, "nothing is left of it"
    keeping.tidy(replace(shop, recipe_space=0))
    assert Seed.get(Seed.machine_class == often[0].class_name).state is SeedState.READY, "what is in use is not removed, whatever it takes"


def test_a_seed_that_the_scenario_would_make_otherwise_by_now_is_not_used_again(
    engine: Engine, shop: Settings, people: tuple[Actor, Actor]
) -> None:
    asked = ask(people[0], applications=["a"])
    settled(engine, asked)
    verbs.release(people[0], again(asked).machine_id or "")
    settle(engine, 4)
    keeping.tidy(shop)
    assert seeds.promoted(asked.class_name) is not None
    (shop.scenario / "roles/a/tasks/main.yml").write_text("- ansible.builtin.command: 'false'\n")
    scenarios.follow_folder(shop)
    keeping.tidy(shop)
    assert seeds.promoted(asked.class_name) is None, "whoever asks next has it built"


class KilledError(BaseException):
    """What kill -9 is to a thread."""


@pytest.mark.kills
def test_killed_anywhere_between_build_and_promotion_it_ends_the_same(
    shop: Settings, builds: Builds, people: tuple[Actor, Actor], monkeypatch: pytest.MonkeyPatch
) -> None:
    points, reached = 50, 0
    for at in range(1, points):
        name = ask(people[0], applications=["a"], packages=[f"tool{at}"]).class_name
        keeping.build_wanted()
        [seed], passed = seeds.unfinished(name), 0

        def mortal(where: object, verb: str, patch: pytest.MonkeyPatch, at: int = at) -> None:
            does = getattr(where, verb)

            def watched(*arguments: object, **named: object) -> object:
                point(at)
                done = does(*arguments, **named)
                point(at)
                return done

            patch.setattr(where, verb, watched)

        def point(at: int) -> None:
            nonlocal passed
            passed += 1
            if passed == at:
                raise KilledError

        with monkeypatch.context() as patch, suppress(KilledError):
            for where, verb in (
                (seed_builds, "build"),
                (seed_builds, "record"),
                (seeds, "promote"),
                (seed_builds.package_index, "after_build"),
            ):
                mortal(where, verb, patch)
            seed_builds.run_current(seed, shop, FakeProvider())
        assert (seeds.promoted(name) is not None) == (Seed.get_by_id(seed.id).state is SeedState.READY), (
            "promoted or not, and nothing between"
        )
        for left in seeds.unfinished(name):
            seed_builds.run_current(left, shop, FakeProvider())
        found = seeds.promoted(name)
        assert found is not None
        assert (found.id, found.state, found.stored, found.version) == (seed.id, SeedState.READY, True, 1)
        assert [one.name for one in (shop.seeds / name).iterdir()] == ["1"]
        assert Event.select().where(Event.kind == EventKind.SEED_PROMOTED, Event.seed_id == seed.id).count() == 1
        Request.update(state=R.CANCELLED).where(Request.state == R.WAITING).execute()
        if passed < at:
            break
        reached = at
    assert 6 <= reached < points - 1, "each point was one to be killed at"


def test_a_favourite_is_ones_own_and_has_a_name(shop: Settings, people: tuple[Actor, Actor]) -> None:
    alice, bob = people
    choices.keep(alice, "studio", " Thesis ", "os=debian-12")
    choices.keep(alice, "studio", "Thesis", "os=debian-13")
    [kept] = choices.favourites(alice.account_id or 0, "studio")
    assert (kept.name, kept.query) == ("Thesis", "os=debian-13")
    with pytest.raises(NotFound):
        choices.drop(bob, kept.id)
    with pytest.raises(BadInput, match="needs a name"):
        choices.keep(alice, "studio", "", "")
    choices.drop(alice, kept.id)
    assert Favourite.select().count() == 0


def test_the_same_choice_has_the_same_hash() -> None:
    one = choice.Chosen(os="debian-12", applications=["b", "a", "a"], memory=256, disk=2)
    other = choice.Chosen(os="debian-12", applications=["a", "b"], memory=256, disk=2)
    assert choice.digest("studio", one) == choice.digest("studio", other) != choice.digest("lab", other)
    assert len(choice.class_name("a" * 31, one)) <= 31
