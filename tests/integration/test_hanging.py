"""Servers of others that hang, behind the real nginx and web process: who waits for them is told, and nobody else notices."""

import threading
import time
from collections.abc import Iterator

import pytest

from appliance.identity import directory
from tests.bench.claim import Person
from tests.bench.outside import Hanging, hanging, looks
from tests.waiting import until

pytestmark = pytest.mark.cases


@pytest.fixture(scope="module")
def servers() -> Iterator[Hanging]:
    with hanging() as found:
        yield found


@pytest.fixture(scope="module")
def others(servers: Hanging) -> tuple[Person, Person]:
    """Two who are in already: one looks at pages, and one stands at the door of an application."""
    ada, knocks = servers.visitor("person0"), servers.visitor("person1")
    knocks.go_to(servers.settings.app_port)
    return ada, knocks


def _go_on(servers: Hanging, others: tuple[Person, Person]) -> None:
    """A page and the door's question are answered as ever, and whoever has a local account comes in."""
    ada, knocks = others
    assert max(looks(lambda: ada.get("/account"), 10)) < 2
    assert max(looks(lambda: knocks.ask("GET", "/"), 10)) < 2
    assert knocks.ask("GET", "/")[0] == 403, "the door said that nothing is there"
    begun = time.monotonic()
    servers.visitor("person2")
    assert time.monotonic() - begun < 4


def test_a_directory_that_answers_no_searches_stops_only_those_who_ask_it(servers: Hanging, others: tuple[Person, Person]) -> None:
    answers: list[tuple[int, bytes, float]] = []
    people = [servers.visitor() for _ in range(40)]

    def come(number: int) -> None:
        begun = time.monotonic()
        status, page = people[number].sign_in(f"stranger{number}")
        answers.append((status, page, time.monotonic() - begun))

    coming = [threading.Thread(target=come, args=(number,)) for number in range(len(people))]
    for one in coming:
        one.start()
    until(lambda: servers.directory.asked >= 8)  # as many as have places
    _go_on(servers, others)
    assert any(one.is_alive() for one in coming), "they waited all the while"
    for one in coming:
        one.join()
    assert len(answers) == len(people)
    assert {status for status, _, _ in answers} == {503}
    assert all(b"Try again" in page or b"Look at" in page for _, page, _ in answers)
    assert max(took for *_, took in answers) < 2 * directory.SIGN_IN + 5
    again = servers.directory.asked
    assert people[0].sign_in("stranger")[0] == 503
    assert servers.directory.asked == again, "nobody waits for it again right away"


def test_four_who_wait_for_each_of_four_servers_stop_nobody_else(servers: Hanging, others: tuple[Person, Person]) -> None:
    with servers.waited_for() as answered:
        _go_on(servers, others)
    assert len(answered) >= 16
    assert set(answered) <= {503, 200, 400}, answered
