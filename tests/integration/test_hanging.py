"""Servers of others that hang, behind the real nginx and web process: who waits for them is told, and nobody else notices."""

import threading
import time
from collections.abc import Iterator

import pytest

from appliance.people import directory
from tests.bench.outside import Hanging, hanging, looks

pytestmark = pytest.mark.cases


@pytest.fixture(scope="module")
def servers() -> Iterator[Hanging]:
    with hanging() as found:
        yield found


def _others_go_on(servers: Hanging) -> None:
    """A page and the door's question, asked again and again, are answered; whoever has a local account comes in."""
    ada, knocks = servers.visitor("person0"), servers.visitor("person1")
    knocks.go_to(servers.settings.app_port)
    assert b"Sign out" in ada.get("/")
    assert max(looks(lambda: ada.get("/account"), 10)) < 2
    assert max(looks(lambda: knocks.ask("GET", "/"), 10)) < 2
    assert knocks.ask("GET", "/")[0] == 403, "the door said that nothing is there"


def test_a_directory_that_answers_no_searches_stops_only_those_who_ask_it(servers: Hanging) -> None:
    answers: list[tuple[int, bytes, float]] = []

    def come(number: int) -> None:
        person, begun = servers.visitor(), time.monotonic()
        status, page = person.sign_in(f"stranger{number}")
        answers.append((status, page, time.monotonic() - begun))

    people = [threading.Thread(target=come, args=(number,)) for number in range(40)]
    for one in people:
        one.start()
    deadline = time.monotonic() + 20
    while servers.directory.asked < 4:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    _others_go_on(servers)
    for one in people:
        one.join()
    assert {status for status, _, _ in answers} == {503}
    assert len(answers) == 40
    assert all(b"Try again" in page or b"Look at" in page for _, page, _ in answers)
    assert max(took for *_, took in answers) < 2 * directory.SIGN_IN + 5
    again = servers.directory.asked
    assert servers.visitor().sign_in("stranger")[0] == 503
    assert servers.directory.asked == again, "nobody waits for it again right away"


def test_four_who_wait_for_each_of_four_servers_stop_nobody_else(servers: Hanging) -> None:
    with servers.waited_for() as answered:
        _others_go_on(servers)
    assert len(answered) >= 16
    assert set(answered) <= {503, 200, 400}, answered
