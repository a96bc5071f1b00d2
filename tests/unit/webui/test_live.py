"""The live stream: told once a change, bounded, and gone when told to stop."""

import re
import threading
import time
from collections.abc import Iterator

import pytest

from appliance import catalog
from appliance.catalog import Actor, record
from appliance.settings import Settings
from tests.unit.webui.conftest import HOST, Browser
from tests.waiting import until
from webui import live


@pytest.fixture
def hub(opened: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[live.Hub]:
    """A hub of one's own, which stops with the test."""
    hub = live.Hub()
    monkeypatch.setattr(live, "hub", hub)
    yield hub
    hub.stopping = lambda: True
    for thread in threading.enumerate():
        if thread.name == "live":
            thread.join(5)
            assert not thread.is_alive()


def watchers() -> int:
    return sum(thread.name == "live" for thread in threading.enumerate())


def test_a_change_wakes_the_streams(hub: live.Hub) -> None:
    stream = hub.join(1, "a")
    assert stream is not None
    seen = hub.wait(-1, 0)
    assert hub.wait(seen, 0.8) == seen
    with catalog.write():
        record("support.bundle", "something happened")
    assert hub.wait(seen, 5) == seen + 1


def test_many_changes_are_one(hub: live.Hub) -> None:
    hub.join(1, "a")
    seen = hub.wait(-1, 0)
    time.sleep(2 * live.INTERVAL)
    begun = time.monotonic()
    while time.monotonic() - begun < 2.5:
        with catalog.write():
            record("support.bundle", "something happened")
        time.sleep(0.01)
    assert 1 <= hub.wait(-1, 0) - seen <= 3


def test_nobody_listening_nobody_watching(hub: live.Hub) -> None:
    before = watchers()
    stream = hub.join(1, "a")
    assert watchers() == before + 1
    hub.leave(1, "a", stream)
    until(lambda: watchers() <= before)
    assert watchers() == before
    assert hub.join(1, "a") is not None


def test_there_are_only_so_many(hub: live.Hub) -> None:
    mine = [hub.join(1, str(tab)) for tab in range(live.STREAMS_EACH + 1)]
    assert mine[-1] is None
    assert None not in mine[:-1]
    others = [hub.join(account, "a") for account in range(2, live.STREAMS + 2)]
    assert sum(stream is not None for stream in mine + others) == live.STREAMS


def test_a_tab_has_one_stream(hub: live.Hub) -> None:
    first = hub.join(1, "a")
    events = live._events(hub.wait(-1, 0), lambda: hub.superseded(1, "a", first), lambda: True)
    assert next(events) == "retry: 1000\n\n"
    second = hub.join(1, "a")
    assert next(events) == "event: superseded\ndata:\n\n"
    assert next(events, None) is None
    hub.leave(1, "a", first)
    assert not hub.superseded(1, "a", second)


def test_a_stream_ends_at_once_when_the_server_stops(hub: live.Hub) -> None:
    hub.join(1, "a")
    events = live._events(hub.wait(-1, 0), lambda: False, lambda: True)
    next(events)
    threading.Timer(0.2, lambda: setattr(hub, "stopping", lambda: True)).start()
    begun = time.monotonic()
    assert list(events) == [": still here\n\n"]
    assert time.monotonic() - begun < 2


def test_the_address(hub: live.Hub, ada: Browser, people: dict[str, Actor]) -> None:
    answer = ada.client.get("/live?tab=x", base_url=HOST, buffered=False)
    assert answer.status_code == 200
    assert answer.mimetype == "text/event-stream"
    assert answer.headers["X-Accel-Buffering"] == "no"
    account_id = people["ada"].account_id
    assert account_id is not None
    assert (account_id, "x") in hub._open
    answer.close()
    assert hub._open == {}
    for tab in range(live.STREAMS_EACH):
        hub.join(account_id, str(tab))
    refused = ada.client.get("/live?tab=y", base_url=HOST)
    assert (refused.status_code, refused.headers["Retry-After"]) == (503, "60")


def test_what_happened_between_page_and_stream_is_a_change(hub: live.Hub, ada: Browser) -> None:
    page = ada.client.get("/", base_url=HOST).get_data(as_text=True)
    found = re.search(r'data-live="/live\?since=(\d+)"', page)
    assert found is not None
    address = f"/live?since={found[1]}&tab="
    stream = ada.client.get(address + "up-to-date", base_url=HOST, buffered=False)
    assert next(stream.response) == b"retry: 1000\n\n"
    threading.Timer(0.5, lambda: setattr(hub, "stopping", lambda: True)).start()
    assert list(stream.response) == [b": still here\n\n"]
    stream.close()
    hub.stopping = lambda: False
    with catalog.write():
        record("support.bundle", "something happened")
    stream = ada.client.get(address + "behind", base_url=HOST, buffered=False)
    assert [next(stream.response) for _ in range(2)] == [b"retry: 1000\n\n", b"data: changed\n\n"]
    stream.close()


def test_what_happens_before_the_first_look_is_seen(hub: live.Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    looks = iter([7, 8])  # when the stream joins, and ever after
    last = 8
    monkeypatch.setattr(hub, "_version", lambda _: (1, next(looks, last)))
    hub.join(1, "a")
    seen = hub.wait(-1, 0)
    assert hub.wait(seen, 5) == seen + 1


@pytest.mark.revoked
def test_a_stream_ends_with_its_session(hub: live.Hub) -> None:
    hub.join(1, "a")
    gone = threading.Event()
    events = live._events(hub.wait(-1, 0), lambda: False, lambda: not gone.is_set())
    assert next(events).startswith("retry")
    gone.set()
    with hub._changed:  # whatever ends a session changes the catalog
        hub._serial += 1
    assert list(events) == ["data: changed\n\n"]  # upon which the page is led to sign in
