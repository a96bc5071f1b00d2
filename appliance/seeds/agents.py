"""Lets what is in a sandbox reach into some machines through their agents, and into no other: a socket in its /tmp.

An object of JSON a line is asked, {"id", "command", "input" (in base64), "timeout" (seconds)}, and one is answered: {"status", "output", "error"}, or
{"problem"} when it could not be run. The other side is playbooks/plugins/connection/dpe_agent.py.
"""

import base64
import json
import os
import socket
import threading
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from socketserver import StreamRequestHandler, ThreadingUnixStreamServer
from typing import Any

from appliance.errors import DpeError
from appliance.hypervisor.provider import Provider
from appliance.seeds.sandbox import FIRST, hand_over

LONGEST = 1 << 20  # bytes that are asked
AT_ONCE = 32  # connections; others wait
SOCKET = "agents"
INSIDE = {"DPE_AGENTS": f"/tmp/{SOCKET}"}  # noqa: S108  what the sandbox's environment says of it


@contextmanager
def reaching(provider: Provider, ids: Collection[str], scratch: Path, within: float) -> Iterator[None]:
    """The sandbox of that scratch folder reaches those machines meanwhile; a command may take so many seconds."""
    folder = os.open(hand_over(scratch / "tmp", 0o1777), os.O_PATH | os.O_DIRECTORY)
    path = Path(f"/proc/self/fd/{folder}/{SOCKET}")  # the folder's own name may be longer than a socket's may be
    with _Server(provider, ids, path, within) as server:
        os.chown(path, FIRST, FIRST)
        os.close(folder)
        threading.Thread(target=server.serve_forever, args=(0.1,), name="agents", daemon=True).start()
        try:
            yield
        finally:
            server.shutdown()


class _Server(ThreadingUnixStreamServer):
    daemon_threads = True
    block_on_close = False  # a command that goes on in its machine is nobody's any more

    def __init__(self, provider: Provider, ids: Collection[str], path: Path, within: float) -> None:
        super().__init__(str(path), _Handler)
        self.provider, self.ids, self.within, self.free = provider, frozenset(ids), within, threading.BoundedSemaphore(AT_ONCE)

    def process_request(self, request: Any, client_address: Any) -> None:
        self.free.acquire()
        super().process_request(request, client_address)

    def shutdown_request(self, request: socket.socket | tuple[bytes, socket.socket]) -> None:
        super().shutdown_request(request)
        self.free.release()

    def answer(self, asked: bytes) -> dict[str, Any]:
        """Run one command."""
        try:
            said = json.loads(asked)
            id, command, timeout = said["id"], [str(word) for word in said["command"]], min(float(said["timeout"]), self.within)
            given = base64.b64decode(said["input"], validate=True)
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            return {"problem": f"That is not how it is asked: {error!r}"}
        if id not in self.ids:
            return {"problem": "That machine is another's."}
        try:
            done = self.provider.execute(id, command, input=given, timeout=timeout)
        except DpeError as error:
            return {"problem": str(error)}
        return {"status": done.status, "output": done.output, "error": done.error}


class _Handler(StreamRequestHandler):
    server: _Server

    def handle(self) -> None:
        while (line := self.rfile.readline(LONGEST)).endswith(b"\n"):
            try:
                self.wfile.write(json.dumps(self.server.answer(line)).encode() + b"\n")
            except OSError:  # who asked is gone
                return
