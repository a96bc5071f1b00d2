"""Few requests at a time, first come, first served."""

import threading
import time

import pytest

from webui.turnstile import Turnstile


class App:
    """Notes in which order requests come in, how many are inside, and holds each until it is let go."""

    def __init__(self) -> None:
        self.begun: list[str] = []
        self.inside = self.most = 0
        self.gate = threading.Semaphore(0)
        self.lock = threading.Lock()

    def __call__(self, environ, start_response):
        with self.lock:
            self.begun.append(environ["PATH_INFO"])
            self.inside += 1
            self.most = max(self.most, self.inside)
        self.gate.acquire()
        with self.lock:
            self.inside -= 1
        if environ["PATH_INFO"] == "/breaks":
            raise ZeroDivisionError
        return [b"done"]


def until(true):
    deadline = time.monotonic() + 5
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.005)


@pytest.mark.parametrize("width", [1, 3])
def test_never_more_than_its_width_and_in_the_order_of_coming(width):
    app = App()
    turnstile = Turnstile(app, width, frozenset())
    threads = []
    for n in range(12):
        thread = threading.Thread(target=turnstile, args=({"PATH_INFO": f"/{n}"}, None))
        thread.start()
        threads.append(thread)
        until(lambda n=n: len(app.begun) + turnstile.waiting == n + 1)
    for _ in threads:
        app.gate.release()
    for thread in threads:
        thread.join(5)
    assert app.most == width
    if width == 1:  # of those inside together, any may be the first to say so
        assert app.begun == [f"/{n}" for n in range(12)]


def test_a_request_that_breaks_gives_its_place_back():
    app = App()
    turnstile = Turnstile(app, 1, frozenset())
    for _ in range(3):
        app.gate.release()
        with pytest.raises(ZeroDivisionError):
            turnstile({"PATH_INFO": "/breaks"}, None)
    app.gate.release()
    assert turnstile({"PATH_INFO": "/"}, None) == [b"done"]


def test_streams_pass_by_it():
    app = App()
    turnstile = Turnstile(app, 1, frozenset({"/live"}))
    held = threading.Thread(target=turnstile, args=({"PATH_INFO": "/"}, None))
    held.start()
    until(lambda: app.begun == ["/"])
    streams = [threading.Thread(target=turnstile, args=({"PATH_INFO": "/live"}, None)) for _ in range(3)]
    for stream in streams:
        stream.start()
    until(lambda: app.inside == 4)
    for _ in range(4):
        app.gate.release()
    for thread in (held, *streams):
        thread.join(5)
