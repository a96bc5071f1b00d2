"""Whether a machine is in use, and what follows: pure functions under hypothesis, and the whole of it in the engine."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.hypervisor.provider import GuestSigns
from appliance.lifecycle.idle import CPU, DISK, NETWORK, Active, Idle, Next, Policy, Signs, follows, is_busy, judge

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)
minutes = st.integers(0, 5000).map(lambda number: timedelta(minutes=number))
moments = minutes.map(lambda ago: NOON - ago)
policies = st.builds(Policy, minutes, minutes.filter(bool))
guests = st.builds(GuestSigns, st.integers(0, 5), st.floats(0, 20), st.none() | st.floats(0, 1e6))
signs = st.builds(Signs, moments, st.none() | moments, st.none() | guests)


@given(policies, signs)
def test_idle_is_exactly_what_was_unused_for_so_long(policy, found):
    verdict = judge(policy, found, NOON)
    if isinstance(verdict, Idle):
        assert policy.after
        assert NOON - verdict.since >= policy.after
        assert verdict.since >= found.since
        assert found.busy_at is None or verdict.since >= found.busy_at
        if found.guest is not None:
            assert found.guest.load < 0.5
            assert found.guest.last_input_seconds is None or found.guest.last_input_seconds >= policy.after.total_seconds()
    else:
        assert not policy.after or NOON - verdict.at < policy.after


@given(policies, signs, moments)
def test_one_more_sign_never_makes_a_machine_idle(policy, found, busy_at):
    if isinstance(judge(policy, found, NOON), Active):
        later = max(busy_at, found.busy_at) if found.busy_at else busy_at
        assert isinstance(judge(policy, Signs(found.since, later, found.guest), NOON), Active)


@given(policies, signs)
def test_time_alone_makes_it_idle_and_nothing_before(policy, found):
    """Without any new sign it becomes idle after the policy's time, and stays so."""
    quiet = Signs(found.since, found.busy_at)
    last = max(found.since, found.busy_at or found.since)
    if policy.after:
        assert isinstance(judge(policy, quiet, last + policy.after - timedelta(seconds=1)), Active)
        assert judge(policy, quiet, last + policy.after) == judge(policy, quiet, last + 10 * policy.after) == Idle(last)


@given(policies.filter(lambda policy: bool(policy.after)), moments, minutes)
def test_a_clock_that_was_set_back_keeps_nothing_in_use_for_ever(policy, since, ahead):
    verdict = judge(policy, Signs(since, NOON + ahead), NOON)
    assert verdict == Active(NOON)


@given(policies, signs, st.none() | moments, minutes.map(lambda left: NOON + left))
def test_nobody_loses_a_machine_without_a_warning_that_lasted(policy, found, warned_at, ends_at):
    verdict = judge(policy, found, NOON)
    what = follows(policy, verdict, warned_at, ends_at, NOON)
    if what is Next.ACT:
        assert isinstance(verdict, Idle)
        assert warned_at is not None
        assert NOON - warned_at >= policy.grace
    if what is Next.WARN:
        assert warned_at is None
        assert ends_at - NOON > policy.grace, "the end of a lease that comes first has warnings of its own"
    if isinstance(verdict, Active):
        assert what is (Next.UNWARN if warned_at else Next.NOTHING)


@pytest.mark.parametrize(
    ("load", "busy"),
    [
        ({"cpu": 0.0, "network": 0.0, "disk": 0.0}, False),
        ({"cpu": CPU, "network": 0.0, "disk": 0.0}, True),
        ({"cpu": 0.0, "network": NETWORK, "disk": 0.0}, True),
        ({"cpu": 0.0, "network": 0.0, "disk": DISK}, True),
        ({"cpu": CPU * 0.9, "network": NETWORK * 0.9, "disk": DISK * 0.9}, False),
    ],
)
def test_any_one_of_the_hypervisors_signs_will_do(load, busy):
    assert is_busy(**load) is busy


@pytest.mark.parametrize(
    ("guest", "used"),
    [
        (None, False),
        (GuestSigns(0, 0.1, None), False),
        (GuestSigns(2, 0.1, None), False),
        (GuestSigns(1, 0.0, 7200.0), False),
        (GuestSigns(1, 0.0, 600.0), True),
        (GuestSigns(0, 0.9, None), True),
    ],
)
def test_who_is_only_signed_in_does_not_use_it(guest, used):
    policy = Policy(timedelta(hours=1), timedelta(minutes=15))
    assert isinstance(judge(policy, Signs(NOON - timedelta(hours=3), None, guest), NOON), Active if used else Idle)
