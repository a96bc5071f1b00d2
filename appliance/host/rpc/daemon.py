"""`python -m appliance.host.rpc.daemon`: dpe-host in the foreground, until SIGTERM."""

import logging
import signal
import socket
import socketserver
import struct
import threading

from pydantic import ValidationError

from appliance import layout
from appliance.errors import BadInput, DpeError, NotAllowed
from appliance.host.backup import restore_testing
from appliance.host.rpc import periodic
from appliance.host.rpc.operations import Operations
from appliance.host.rpc.registry import Host, find
from appliance.host.rpc.registry import load as load_verbs
from appliance.host.rpc.verb import LongVerb
from appliance.host.rpc.wire import LONGEST_QUESTION, Answer, Question
from appliance.host.system import processes
from appliance.sd_notify import ALIVE, READY, notify
from appliance.settings import Settings, load

log = logging.getLogger(__name__)

SIGN = 2.0  # seconds between two signs of life


class Server(socketserver.ThreadingUnixStreamServer):
    """Listens where the settings say; `operations` are the long verbs."""

    daemon_threads = True

    def __init__(self, settings: Settings) -> None:
        load_verbs()
        self.settings = settings
        self.operations = Operations(settings)
        settings.host_socket.unlink(missing_ok=True)
        super().__init__(str(settings.host_socket), _Connection)
        layout.share_socket(settings.host_socket)

    def service_actions(self) -> None:
        """Each time that the loop goes round."""
        notify(ALIVE)

    def answer(self, question: bytes, *, root: bool) -> Answer:
        """One JSON line's answer, to root or to another user; an error is an answer, too."""
        try:
            try:
                asked = Question.model_validate_json(question)
            except ValidationError as error:
                raise BadInput("The question is no JSON object with verb and args.") from error
            handler, by = find(asked.verb), " ".join(asked.by[:100].split())
            verb, checked = handler.verb, handler.verb.read(asked.args)
            if verb.root and not root:
                raise NotAllowed("That is done at the server's own screen only.", "Go there, or ask somebody who can.")
            if isinstance(verb, LongVerb):
                return Answer(result={"operation": self.operations.begin(handler, checked, by)})
            return Answer(result=verb.pack(handler.do(checked, Host(self.settings, by, operations=self.operations))))
        except DpeError as error:
            return Answer.of(error)
        except Exception:
            log.exception("a verb failed")
            return Answer.of(DpeError("That failed by an error of the appliance itself.", "The log of dpe-host has the details."))


class _Connection(socketserver.StreamRequestHandler):
    timeout = 10  # seconds for the question
    server: Server

    def _is_root(self) -> bool:
        _pid, uid, _gid = struct.unpack("3i", self.connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i")))
        return bool(uid == 0)

    def handle(self) -> None:
        try:
            question = self.rfile.readline(LONGEST_QUESTION)
            if question:
                self.wfile.write(self.server.answer(question, root=self._is_root()).line())
        except OSError:
            pass  # whoever asked has gone


def main() -> None:
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s")
    settings = load()
    layout.prepare(settings)
    processes.resume(settings)
    restore_testing.remove_leftovers(settings)
    with Server(settings) as server:
        stop = threading.Event()
        for signum in (signal.SIGTERM, signal.SIGINT):
            signal.signal(signum, lambda *_: stop.set())
        threading.Thread(target=server.serve_forever, args=(SIGN,), daemon=True).start()
        periodic.start_loops(settings, stop)
        notify(READY)
        stop.wait()
        server.operations.cancel()
        server.operations.wait(20)
    settings.host_socket.unlink(missing_ok=True)


if __name__ == "__main__":
    main()
