"""The end of a lease: announced by mail and on the page at two moments, put off while the machine is busy, and then it comes."""

from datetime import timedelta
from zoneinfo import ZoneInfo

import pytest

from appliance import catalog
from appliance.catalog import Account, Class, Event, Lease, Machine, MachineState, OutgoingMail, Quota, Run, machines, now, options, usage
from appliance.lifecycle import idle, leases
from appliance.services import machines as verbs
from appliance.services.machines import ends_soon

pytestmark = pytest.mark.cases

S = MachineState
HOUR, MINUTE = timedelta(hours=1), timedelta(minutes=1)


@pytest.mark.parametrize(
    ("whole", "first", "last", "before"),
    [
        (8 * 24 * HOUR, 1440, 60, [24 * HOUR, HOUR]),
        (8 * HOUR, 1440, 60, [2 * HOUR, HOUR]),
        (12 * MINUTE, 1440, 60, [3 * MINUTE, 1.5 * MINUTE]),
        (8 * HOUR, 0, 60, [HOUR]),
        (8 * HOUR, 30, 30, [HOUR / 2]),
        (8 * HOUR, 10, 30, [HOUR / 2, HOUR / 6]),
        (8 * HOUR, 0, 0, []),
    ],
)
def test_two_moments_and_never_more_than_a_fraction_of_the_lease(whole, first, last, before):
    assert leases.announced(whole, first, last) == before


@pytest.fixture
def held(ready, alice) -> Machine:
    """A machine that alice holds for eight hours, with two extensions of an hour; mail is sent."""
    ready(1)
    with catalog.write():
        options.put("mail", {"on": True})
        options.put("time_zone", "Asia/Kathmandu")
        Account.update(email="alice@example.org").where(Account.id == alice.account_id).execute()
        Class.update(lease_minutes=480, extend_minutes=60, extensions=2).execute()
    machine = machines.by_id(verbs.request(alice, "small").machine_id)
    Machine.update(state=S.IN_USE).execute()
    return machine


def ends_in(time: timedelta, **changes: object) -> None:
    """As if the lease of eight hours had so much time left."""
    end = now() + time
    Lease.update(began_at=end - 8 * HOUR, ends_at=end, **changes).execute()


def mails() -> list[str]:
    return [row.subject for row in OutgoingMail.select().order_by(OutgoingMail.id)]


def test_its_holder_is_written_to_twice_with_a_way_to_extend_it(held, alice):
    ends_in(2 * HOUR + MINUTE)
    assert leases.warn() == 0
    ends_in(2 * HOUR - MINUTE)
    assert (leases.warn(), leases.warn()) == (1, 0)
    ends_in(HOUR + MINUTE)
    assert leases.warn() == 0
    ends_in(HOUR - MINUTE, warned_at=now() - HOUR)
    assert (leases.warn(), leases.warn()) == (1, 0)
    [first, second] = OutgoingMail.select()
    assert (first.account_id, second.account_id) == (alice.account_id, alice.account_id)
    ends = Lease.get().ends_at.astimezone(ZoneInfo("Asia/Kathmandu"))
    assert second.subject == f"The lease of {held.name} ends at {ends:%Y-%m-%d %H:%M} +0545"
    assert "extend it 2 more times, by 60 minutes each: sign in and press Extend" in second.text
    assert "kept until it comes to rest, for 60 minutes at most" in second.text
    assert second.path == f"/#machine-{held.number}"
    event = Event.select().where(Event.kind == "lease.warning").order_by(Event.id.desc()).first()
    assert event.account_id == alice.account_id


def test_what_was_due_twice_while_nobody_looked_is_said_once(held):
    ends_in(10 * MINUTE)
    assert (leases.warn(), leases.warn()) == (1, 0)
    assert len(mails()) == 1


def test_whoever_extended_it_is_left_alone_until_the_next_moment_and_who_cannot_is_told(held, alice):
    ends_in(30 * MINUTE)
    leases.warn()
    verbs.extend(alice, held.id)
    assert leases.warn() == 0, "an hour and a half are left, which is less than a quarter"
    Lease.update(extensions=2).execute()
    ends_in(20 * MINUTE, warned_at=now() - HOUR)
    leases.warn()
    assert "cannot be extended any more" in OutgoingMail.select().order_by(OutgoingMail.id.desc()).first().text


def test_a_class_may_choose_its_moments_or_none(held):
    Class.update(warn_first=0, warn_last=5).execute()
    ends_in(6 * MINUTE)
    assert leases.warn() == 0
    assert not ends_soon(Lease.get(), Class.get())
    ends_in(4 * MINUTE)
    assert leases.warn() == 1
    assert ends_soon(Lease.get(), Class.get())
    Class.update(warn_last=0).execute()
    Lease.update(warned_at=None).execute()
    assert leases.warn() == 0
    assert not ends_soon(Lease.get(), Class.get())


# -- busy at the end ---------------------------------------------------------------------------


def test_a_busy_machine_is_kept_until_it_comes_to_rest_and_its_holder_is_told(held, alice):
    ends_in(-MINUTE, busy_at=now())
    assert (leases.expire(), leases.expire()) == (0, 0)
    lease = Lease.get()
    assert lease.ended_at is None
    assert timedelta() < lease.ends_at - now() <= leases.STEP
    assert Event.select().where(Event.kind == "lease.kept_busy").count() == 1
    assert mails() == [f"{held.name} is kept while it is busy"]
    assert leases.warn() == 0, "it has been said"
    Lease.update(ends_at=now(), busy_at=now() - leases.BUSY - MINUTE).execute()
    assert leases.expire() == 1
    assert machines.by_id(held.id).state is S.RECLAIMING


def test_it_is_kept_for_a_bounded_time(held):
    ends_in(-MINUTE, busy_at=now())
    leases.expire()
    until = Lease.get().kept_until
    assert abs(until - now() - 59 * MINUTE) < MINUTE
    Lease.update(ends_at=now(), kept_until=now() + MINUTE / 2, busy_at=now()).execute()
    assert leases.expire() == 0
    assert Lease.get().ends_at == Lease.get().kept_until
    Lease.update(ends_at=now(), kept_until=now(), busy_at=now()).execute()
    assert leases.expire() == 1


def test_neither_without_the_classs_word_nor_beyond_a_quota(held, alice):
    Class.update(busy_grace=0).execute()
    ends_in(-MINUTE, busy_at=now())
    assert leases.expire() == 1


def test_not_beyond_what_a_quota_allows(held, alice):
    with catalog.write():
        Quota.create(account=alice.account_id, each=False, lease_minutes=490)
    ends_in(-MINUTE, busy_at=now())
    assert leases.expire() == 0
    assert Lease.get().kept_until == Lease.get().began_at + 490 * MINUTE
    Lease.update(began_at=now() - 490 * MINUTE, ends_at=now(), kept_until=None).execute()
    assert leases.expire() == 1


def test_it_can_be_extended_even_then(held, alice):
    ends_in(-MINUTE, busy_at=now())
    leases.expire()
    ends_at = verbs.extend(alice, held.id)
    assert ends_at - now() > 59 * MINUTE
    assert Lease.get().kept_until is None


def test_use_is_kept_near_the_end_even_where_nobody_looks_for_idle_machines(held):
    ends_in(usage.NEAR_END + MINUTE)
    with catalog.write():
        usage.note_usage([held.id], now())
    assert Lease.get().busy_at is None, "a write that nobody needs"
    ends_in(usage.NEAR_END - MINUTE)
    with catalog.write():
        usage.note_usage([held.id], now())
    assert Lease.get().busy_at is not None


def test_the_warning_that_nobody_uses_it_is_mailed_too(held, alice):
    Class.update(idle_minutes=60, idle_grace=15).execute()
    ends_in(4 * HOUR)
    Machine.update(state_since=now() - 2 * HOUR).execute()
    Run.update(ended_at=now()).execute()

    class Silent:
        def signs(self, _id, *, timeout):
            return None

    idle.look_for_idle(Silent(), now() - 3 * HOUR)
    [letter] = OutgoingMail.select()
    assert letter.account_id == alice.account_id
    assert letter.subject.startswith(f"{held.name} is taken back at ")
    assert "I am still here" in letter.text
    idle.look_for_idle(Silent(), now() - 3 * HOUR)
    assert len(mails()) == 1
