"""The connection on libvirt's own test driver: errors, events, threads."""

import queue
import threading
import time
from collections.abc import Iterator

import libvirt
import pytest

from appliance.errors import DpeError, NotFound, Unavailable
from appliance.hypervisor.libvirt.connection import Connection


@pytest.fixture
def connection() -> Iterator[Connection]:
    connection = Connection("test:///default")
    yield connection
    connection.close()


def test_errors_become_ours(connection: Connection) -> None:
    with pytest.raises(NotFound), connection.use() as opened:
        opened.lookupByName("nobody")
    with pytest.raises(DpeError, match="refused") as caught, connection.use() as opened:
        opened.defineXML("<domain/>")
    assert type(caught.value) is DpeError


def test_a_daemon_that_is_not_there(tmp_path: object) -> None:
    away = Connection(f"qemu+unix:///system?socket={tmp_path}/none")
    with pytest.raises(Unavailable, match="does not answer") as caught, away.use():
        pass
    assert "Machines that run go on running" in caught.value.hint


def test_it_is_opened_once_and_again_after_it_was_closed(connection: Connection) -> None:
    with connection.use() as first, connection.use() as second:
        assert first is second
    connection.close()
    with connection.use() as third:
        assert third is not first
        assert third.isAlive()


def test_events_reach_watchers_and_who_waits(connection: Connection) -> None:
    told: queue.Queue[str] = queue.Queue()
    connection.watch(told.put)
    with connection.use() as opened:
        domain = opened.lookupByName("test")
        waiting = threading.Event()

        def off() -> bool:
            waiting.set()
            return not domain.isActive()

        def switch_off() -> None:
            waiting.wait()
            domain.destroy()

        threading.Thread(target=switch_off).start()
        begun = time.monotonic()
        assert connection.until(off, begun + 20, pause=20)
        assert time.monotonic() - begun < 5  # by the event, not by the pause
        domain.create()
    assert told.get(timeout=20) == domain.UUIDString()


def test_waiting_ends_at_the_deadline(connection: Connection) -> None:
    begun = time.monotonic()
    assert not connection.until(lambda: False, begun + 0.2, pause=0.05)
    assert 0.2 <= time.monotonic() - begun < 2


def test_many_threads_share_it(connection: Connection) -> None:
    results: list[object] = []

    def look() -> None:
        for _ in range(20):
            with connection.use() as opened:
                results.append(opened.getAllDomainStats(libvirt.VIR_DOMAIN_STATS_STATE, 0))

    threads = [threading.Thread(target=look) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 160
