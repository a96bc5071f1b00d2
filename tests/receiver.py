"""A real web server on loopback that is called by webhooks."""

import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Receiver:
    """A web server on loopback that keeps what it was sent, and answers as it is told: status, body, headers."""

    def __init__(self, context: ssl.SSLContext | None = None) -> None:
        self.calls: list[tuple[str, dict[str, str], bytes]] = []
        self.says: list[tuple[int, bytes, dict[str, str]]] = []
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                length = int(self.headers["Content-Length"])
                body = self.rfile.read(length)
                if len(body) < length:
                    return  # who was killed in the middle of it told nobody
                receiver.calls.append((self.path, {name.lower(): value for name, value in self.headers.items()}, body))
                status, said, headers = receiver.says.pop(0) if receiver.says else (200, b'{"ok": true}', {})
                self.send_response(status)
                for name, value in {"Content-Length": str(len(said)), **headers}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(said)

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.handle_error = lambda *_: None  # type: ignore[method-assign]  # who hangs up is what a test wants
        if context:
            self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        self.url = f"http{'s' if context else ''}://127.0.0.1:{self.server.server_address[1]}/hook?a=b"
        self._thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()
        self._thread.join(10)


@contextmanager
def serving(context: ssl.SSLContext | None = None) -> Iterator[Receiver]:
    made = Receiver(context)
    yield made
    made.close()
