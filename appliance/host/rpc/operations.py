"""What `dpe-host` is doing and did: a file a task, so that it can be read when nothing else works.

A task is `<state>/host/tasks/<id>.json`. Only the daemon writes them; one runs at a time.
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
from appliance.host.interface import tasks
from appliance.host.interface.tasks import DONE, FAILED, INTERRUPTED, RUNNING, Task
from appliance.host.rpc.registry import Handler, Host, implements
from appliance.host.rpc.verb import Arguments, Nothing
from appliance.settings import Settings

log = logging.getLogger(__name__)

KEPT = 50
LONGEST = 500  # lines that a task may have said


def folder(settings: Settings) -> Path:
    return settings.host / "tasks"


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _write(task: Task, settings: Settings) -> None:
    file = folder(settings) / f"{task.id}.json"
    durable.write(file, json.dumps(asdict(task), indent=1))


def everything(settings: Settings) -> list[Task]:
    """All tasks that are remembered, the newest first; a file that cannot be read is left out."""
    found = []
    for file in folder(settings).glob("*.json"):
        try:
            found.append(Task(**json.loads(file.read_text())))
        except (OSError, ValueError, TypeError):
            continue
    return sorted(found, key=lambda task: (task.begun_at, task.id), reverse=True)


def get_operation(settings: Settings, id: str) -> Task:
    """Raises NotFound."""
    for task in everything(settings):
        if task.id == id:
            return task
    raise NotFound("There is no such task.", "It may be too long ago: the last 50 are kept.")


class Operations:
    """The daemon's tasks: at most one runs."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._lock = threading.Lock()
        self._current: Task | None = None
        self._cancelled = threading.Event()
        self._thread: threading.Thread | None = None
        folder(settings).mkdir(mode=0o750, exist_ok=True)
        for task in everything(settings):
            if task.state == RUNNING:  # the daemon that ran it is gone
                task.state, task.ended_at = INTERRUPTED, _now()
                task.error, task.hint = "It was cut off: the appliance was restarted or lost power meanwhile.", "Begin it again."
                _write(task, settings)

    @property
    def current(self) -> Task | None:
        return self._current

    def begin(self, handler: Handler[Any, Any], args: Arguments, by: str) -> str:
        """Run a long verb beside; returns the task's id. Raises Conflict while another one runs."""
        with self._lock:
            if (other := self._current) is not None:
                raise Conflict(
                    f"{other.title} is still going on, begun by {other.by or 'the appliance'}.", "Wait for it to end, or cancel it."
                )
            self._forget()
            task = Task(
                f"{datetime.now(UTC):%Y%m%d%H%M%S}-{uuid.uuid4().hex[:8]}", handler.verb.name, handler.verb.title, by, RUNNING, _now()
            )
            _write(task, self.settings)
            self._current = task
            self._cancelled = threading.Event()
            self._thread = threading.Thread(target=self._run, args=(task, handler, args), name=task.id, daemon=True)
            self._thread.start()
            return task.id

    def cancel(self) -> None:
        """Ask the running task to end; it does where it can do so without harm."""
        self._cancelled.set()

    def wait(self, seconds: float) -> bool:
        """Whether the running task, if any, ended within the time."""
        thread = self._thread
        if thread is not None:
            thread.join(seconds)
        return thread is None or not thread.is_alive()

    def _forget(self) -> None:
        for task in everything(self.settings)[KEPT - 1 :]:
            (folder(self.settings) / f"{task.id}.json").unlink(missing_ok=True)

    def _run(self, task: Task, handler: Handler[Any, Any], args: Arguments) -> None:
        def tell(line: str, progress: int | None) -> None:
            if line and line != task.line:
                task.said = [*task.said[-LONGEST + 1 :], line]
            task.progress = progress
            _write(task, self.settings)

        try:
            task.result = handler.verb.pack(handler.do(args, Host(self.settings, task.by, self._cancelled, tell)))
            task.state = DONE
        except DpeError as error:
            task.state, task.error, task.hint = FAILED, error.message, error.hint
        except Exception:
            log.exception("%s failed", handler.verb.name)
            task.state, task.error = FAILED, "It ended by an error of the appliance itself."
            task.hint = "The log of dpe-host has the details."
        finally:
            task.ended_at = _now()
            _write(task, self.settings)
            self._current = None


def lines(task: Task) -> Iterator[str]:
    """What a task said, for a log."""
    yield f"{task.begun_at} {task.title} ({task.state}), by {task.by or 'the appliance'}"
    yield from task.said
    if task.error:
        yield f"{task.error} {task.hint}".rstrip()


@implements(tasks.TASKS)
def _tasks(args: Nothing, host: Host) -> list[Task]:
    return everything(host.settings)


@implements(tasks.TASK)
def _task(args: tasks.Which, host: Host) -> Task:
    return get_operation(host.settings, args.id)


@implements(tasks.CANCEL)
def _cancel(args: Nothing, host: Host) -> None:
    if host.tasks is None or host.tasks.current is None:
        raise Conflict("Nothing is going on that could be cancelled.", "Reload the page.")
    host.tasks.cancel()
