"""`python -m appliance.host.daemon`: dpe-host in the foreground, until SIGTERM."""

import json
import logging
import signal
import socket
import socketserver
import struct
import threading
from dataclasses import asdict
from typing import Any

from appliance import layout
from appliance.errors import BadInput, Conflict, DpeError, NotAllowed
from appliance.host import loops, tasks, units, verbs
from appliance.host.client import ERRORS
from appliance.host.tasks import Tasks
from appliance.host.verbs import Arguments, Host, find, verb
from appliance.notify import ALIVE, READY, notify
from appliance.settings import Settings, load

log = logging.getLogger(__name__)

LONGEST = 1 << 20  # bytes of a question
LOOK = 2.0  # seconds between looks whether to end


class TaskArguments(Arguments):
    id: str


@verb("tasks")
def _tasks(args: Arguments, host: Host) -> list[dict[str, Any]]:
    return [asdict(task) for task in tasks.everything(host.settings)]


@verb("task")
def _task(args: TaskArguments, host: Host) -> dict[str, Any]:
    return asdict(tasks.get(host.settings, args.id))


class Server(socketserver.ThreadingUnixStreamServer):
    """Listens where the settings say; `tasks` are the long verbs."""

    daemon_threads = True

    def __init__(self, settings: Settings) -> None:
        verbs.load()
        self.settings = settings
        self.tasks = Tasks(settings)
        settings.host_socket.unlink(missing_ok=True)
        super().__init__(str(settings.host_socket), _Connection)
        layout.share_socket(settings.host_socket)

    def service_actions(self) -> None:
        """Each time that the loop goes round."""
        notify(ALIVE)

    def answer(self, question: bytes, *, root: bool) -> dict[str, Any]:
        """One JSON line's answer, to root or to another user; an error is an answer, too."""
        try:
            try:
                asked = json.loads(question)
                name, args, by = asked["verb"], asked["args"], " ".join(str(asked.get("by", ""))[:100].split())
            except (ValueError, LookupError, TypeError) as error:
                raise BadInput("The question is no JSON object with verb and args.") from error
            if name == "task.cancel":
                if self.tasks.current is None:
                    raise Conflict("Nothing is going on that could be cancelled.", "Reload the page.")
                self.tasks.cancel()
                return {"result": None}
            found, checked = find(str(name), args if isinstance(args, dict) else {})
            if found.root and not root:
                raise NotAllowed("That is done at the server's own screen only.", "Go there, or ask somebody who can.")
            if found.long:
                return {"result": {"task": self.tasks.begin(found, checked, by)}}
            return {"result": found.do(checked, Host(self.settings, by))}
        except DpeError as error:
            kind = next((name for name, known in ERRORS.items() if isinstance(error, known)), "DpeError")
            return {"error": error.message, "hint": error.hint, "kind": kind}
        except Exception:
            log.exception("a verb failed")
            return {
                "error": "That failed by an error of the appliance itself.",
                "hint": "The log of dpe-host has the details.",
                "kind": "DpeError",
            }


class _Connection(socketserver.StreamRequestHandler):
    timeout = 10  # seconds for the question
    server: Server

    def _is_root(self) -> bool:
        _pid, uid, _gid = struct.unpack("3i", self.connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i")))
        return bool(uid == 0)

    def handle(self) -> None:
        try:
            question = self.rfile.readline(LONGEST)
            if question:
                self.wfile.write(json.dumps(self.server.answer(question, root=self._is_root())).encode() + b"\n")
        except OSError:
            pass  # whoever asked has gone


def main() -> None:
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s")
    settings = load()
    layout.prepare(settings)
    units.resume(settings)
    with Server(settings) as server:
        stop = threading.Event()
        for signum in (signal.SIGTERM, signal.SIGINT):
            signal.signal(signum, lambda *_: stop.set())
        threading.Thread(target=server.serve_forever, args=(LOOK,), daemon=True).start()
        loops.begin(settings, stop)
        notify(READY)
        stop.wait()
        server.tasks.cancel()
        server.tasks.wait(20)
        server.shutdown()
    settings.host_socket.unlink(missing_ok=True)


if __name__ == "__main__":
    main()
