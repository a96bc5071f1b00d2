"""Operations: what is read of one that ended is so for whoever acts on it."""

import threading
from types import NoneType
from typing import Any

import pytest

from appliance.host.interface.operations import DONE, Operation
from appliance.host.rpc import operations
from appliance.host.rpc.registry import Handler
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
