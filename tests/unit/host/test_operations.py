"""Operations: what is read of one that ended is so for whoever acts on it."""

import errno
import threading
from types import NoneType
from typing import Any

import pytest

from appliance.host.interface.operations import DONE, Operation
from appliance.host.rpc import operations
from appliance.host.rpc.registry import Handler, Host
from appliance.host.rpc.verb import LongVerb, Nothing
from appliance.settings import Settings


def test_who_reads_that_one_has_ended_may_begin_the_next_at_once(opened: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    opened.host.mkdir(parents=True, exist_ok=True)
    handler: Handler[Any, Any] = Handler(LongVerb("test.nothing", Nothing, NoneType, title="Nothing"), lambda args, host: None)
    write, begun, readers = operations._write, list[str](), list[threading.Thread]()

    def written(operation: Operation, settings: Settings) -> None:
        write(operation, settings)
        if operation.state == DONE and not readers:
            readers.append(threading.Thread(target=lambda: begun.append(ours.begin(handler, Nothing(), "grace"))))
            readers[0].start()
            readers[0].join(0.05)  # as long as it would take to be refused

    monkeypatch.setattr(operations, "_write", written)
    ours = operations.Operations(opened)
    first = ours.begin(handler, Nothing(), "grace")
    assert ours.wait(5)
    readers[0].join(5)
    assert ours.wait(5)
    assert len(begun) == 1
    assert {one.state for one in operations.everything(opened)} == {DONE}
    assert first not in begun


@pytest.mark.lost
def test_one_goes_on_and_the_next_begins_when_the_disk_is_too_full_to_note_it(opened: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    opened.host.mkdir(parents=True, exist_ok=True)
    done: list[str] = []

    def work(args: Nothing, host: Host) -> None:
        full.set()
        host.tell("Half of it", 50)
        done.append("whole")

    full, write = threading.Event(), operations._write
    handler: Handler[Any, Any] = Handler(LongVerb("test.room", Nothing, NoneType, title="Room"), work)

    def written(operation: Operation, settings: Settings) -> None:
        if full.is_set():
            raise OSError(errno.ENOSPC, "No space left on device")
        write(operation, settings)

    monkeypatch.setattr(operations, "_write", written)
    ours = operations.Operations(opened)
    for _ in range(2):
        full.clear()
        ours.begin(handler, Nothing(), "grace")
        assert ours.wait(5)
        assert ours.current is None
    assert done == ["whole", "whole"]
