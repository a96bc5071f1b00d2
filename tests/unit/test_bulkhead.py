"""Waiting for others: so many at a time, nobody else with them, and not again for those who did not answer."""

import threading
import time

import pytest

from appliance import bulkhead
from appliance.bulkhead import Breaker, Bulkhead
from appliance.errors import Unavailable

pytestmark = pytest.mark.cases


@pytest.fixture
def moment(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The clock: its one number is what time it is."""
    now = [1000.0]
    monkeypatch.setattr(bulkhead.time, "monotonic", lambda: now[0])
    return now


def test_when_all_places_are_taken_the_next_one_is_told_at_once() -> None:
    places = Bulkhead("testing", 2)
    with places.wait(), places.wait():
        begun = time.monotonic()
        with pytest.raises(Unavailable, match="Many people are testing now"), places.wait():
            pytest.fail("there was no third place")
        assert time.monotonic() - begun < 0.5
    with places.wait(), places.wait():
        pass


def test_a_place_that_comes_free_goes_to_whoever_stands_in_line_and_the_line_has_an_end() -> None:
    places = Bulkhead("testing", 1, line=1, patience=10)
    inside = threading.Event()

    def come() -> None:
        with places.wait():
            inside.set()

    with places.wait():
        second = threading.Thread(target=come)
        second.start()
        while places._let_in._value:  # until the second one stands in line
            time.sleep(0.001)
        with pytest.raises(Unavailable), places.wait():
            pytest.fail("the line was full")
        assert not inside.is_set()
    second.join(10)
    assert inside.is_set()


def test_whoever_waits_stands_aside_from_the_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    order: list[str] = []

    class Aside:
        def __enter__(self) -> None:
            order.append("aside")

        def __exit__(self, *_: object) -> None:
            order.append("back")

    monkeypatch.setattr(bulkhead, "aside", Aside)
    with Bulkhead("testing", 1).wait():
        order.append("asked")
    assert order == ["aside", "asked", "back"]


def test_who_did_not_answer_is_not_asked_again_until_a_while_has_passed_and_then_by_one(moment: list[float]) -> None:
    breaker = Breaker(rest=10)
    assert not breaker.is_open("a")
    breaker.failed("a")
    assert breaker.is_open("a")
    assert not breaker.is_open("b")
    moment[0] += 10
    assert not breaker.is_open("a"), "one tries"
    assert breaker.is_open("a"), "and the others wait for what comes of it"
    breaker.worked("a")
    assert not breaker.is_open("a")


@pytest.mark.parametrize(
    ("took", "error", "open"),
    [
        (15.0, Unavailable("It does not answer."), True),
        (0.1, Unavailable("Nothing listens there."), False),  # nobody had to wait
        (15.0, ValueError("another thing"), False),
    ],
)
def test_only_who_kept_somebody_waiting_is_left_alone(moment: list[float], took: float, error: Exception, open: bool) -> None:
    places = Bulkhead("testing", 1)
    with pytest.raises(type(error)), places.wait("a"):
        moment[0] += took
        raise error
    assert places.breaker.is_open("a") is open
    if open:
        with pytest.raises(Unavailable, match="no answer from a a moment ago"), places.wait("a"):
            pytest.fail("it was asked again")
    with places.wait("b"):
        pass
