"""What `dpe-host` is doing and did: a file an operation, so that it can be read when nothing else works.

An operation is `<state>/host/tasks/<id>.json`, where a version that is gone back to looks for it, too. Only the daemon writes them; one runs at a time.
"""

import json
import logging
import threading
import uuid
from collections.abc import Iterator
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from appliance import durable
from appliance.errors import Conflict, DpeError, NotFound
from appliance.host.interface import operations
from appliance.host.interface.operations import DONE, FAILED, INTERRUPTED, RUNNING, Operation
from appliance.host.rpc.registry import Handler, Host, implements
from appliance.host.rpc.verb import Arguments, Nothing
from appliance.settings import Settings

log = logging.getLogger(__name__)

KEPT = 50
LONGEST = 500  # lines that an operation may have said


def folder(settings: Settings) -> Path:
    return settings.host / "tasks"


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _write(operation: Operation, settings: Settings) -> None:
    file = folder(settings) / f"{operation.id}.json"
    durable.write(file, json.dumps(asdict(operation), indent=1))


def everything(settings: Settings) -> list[Operation]:
    """All operations that are remembered, the newest first; a file that cannot be read is left out."""
    found = []
    for file in folder(settings).glob("*.json"):
        try:
            found.append(Operation(**json.loads(file.read_text())))
        except (OSError, ValueError, TypeError):
            continue
    return sorted(found, key=lambda operation: (operation.begun_at, operation.id), reverse=True)


def get_operation(settings: Settings, id: str) -> Operation:
    """Raises NotFound."""
    for operation in everything(settings):
        if operation.id == id:
            return operation
    raise NotFound("There is no such operation.", "It may be too long ago: the last 50 are kept.")


class Operations:
    """The daemon's operations: at most one runs."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._lock = threading.Lock()
        self._current: Operation | None = None
        self._cancelled = threading.Event()
        self._thread: threading.Thread | None = None
        folder(settings).mkdir(mode=0o750, exist_ok=True)
        for operation in everything(settings):
            if operation.state == RUNNING:  # the daemon that ran it is gone
                operation.state, operation.ended_at = INTERRUPTED, _now()
                operation.error, operation.hint = "It was cut off: the appliance was restarted or lost power meanwhile.", "Begin it again."
                _write(operation, settings)

    @property
    def current(self) -> Operation | None:
        return self._current

    def begin(self, handler: Handler[Any, Any], args: Arguments, by: str) -> str:
        """Run a long verb beside; returns the operation's id. Raises Conflict while another one runs."""
        with self._lock:
            if (other := self._current) is not None:
                raise Conflict(
                    f"{other.title} is still going on, begun by {other.by or 'the appliance'}.", "Wait for it to end, or cancel it."
                )
            self._forget()
            operation = Operation(
                f"{datetime.now(UTC):%Y%m%d%H%M%S}-{uuid.uuid4().hex[:8]}", handler.verb.name, handler.verb.title, by, RUNNING, _now()
            )
            _write(operation, self.settings)
            self._current = operation
            self._cancelled = threading.Event()
            self._thread = threading.Thread(target=self._run, args=(operation, handler, args), name=operation.id, daemon=True)
            self._thread.start()
            return operation.id

    def cancel(self) -> None:
        """Ask the running operation to end; it does where it can do so without harm."""
        self._cancelled.set()

    def wait(self, seconds: float) -> bool:
        """Whether the running operation, if any, ended within the time."""
        thread = self._thread
        if thread is not None:
            thread.join(seconds)
        return thread is None or not thread.is_alive()

    def _forget(self) -> None:
        for operation in everything(self.settings)[KEPT - 1 :]:
            (folder(self.settings) / f"{operation.id}.json").unlink(missing_ok=True)

    def _run(self, operation: Operation, handler: Handler[Any, Any], args: Arguments) -> None:
        def tell(line: str, progress: int | None) -> None:
            if line and line != operation.line:
                operation.said = [*operation.said[-LONGEST + 1 :], line]
            operation.progress = progress
            self._tell(operation)

        try:
            operation.result = handler.verb.pack(handler.do(args, Host(self.settings, operation.by, self._cancelled, tell)))
            operation.state = DONE
        except DpeError as error:
            operation.state, operation.error, operation.hint = FAILED, error.message, error.hint
        except Exception:
            log.exception("%s failed", handler.verb.name)
            operation.state, operation.error = FAILED, "It ended by an error of the appliance itself."
            operation.hint = "The log of dpe-host has the details."
        finally:
            operation.ended_at = _now()
            with self._lock:  # whoever reads that it has ended may begin the next at once
                self._tell(operation)
                self._current = None

    def _tell(self, operation: Operation) -> None:
        """Note where it is. It goes on, and another may follow, when that cannot be noted: the disk may be full, and this be what makes room."""
        try:
            _write(operation, self.settings)
        except OSError as error:
            log.warning("where %s is cannot be noted: %s", operation.verb, error)


def lines(operation: Operation) -> Iterator[str]:
    """What an operation said, for a log."""
    yield f"{operation.begun_at} {operation.title} ({operation.state}), by {operation.by or 'the appliance'}"
    yield from operation.said
    if operation.error:
        yield f"{operation.error} {operation.hint}".rstrip()


@implements(operations.OPERATIONS)
def _operations(args: Nothing, host: Host) -> list[Operation]:
    return everything(host.settings)


@implements(operations.OPERATION)
def _operation(args: operations.Which, host: Host) -> Operation:
    return get_operation(host.settings, args.id)


@implements(operations.CANCEL)
def _cancel(args: Nothing, host: Host) -> None:
    if host.operations is None or host.operations.current is None:
        raise Conflict("Nothing is going on that could be cancelled.", "Reload the page.")
    host.operations.cancel()
