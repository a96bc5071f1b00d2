"""Few requests at a time, first come, first served."""

import importlib
import runpy
import threading
from pathlib import Path

import pytest

import webui
from appliance.bulkhead import Bulkhead
from tests.waiting import until
from webui import live
from webui.app import AT_ONCE
from webui.concurrency_limit import ConcurrencyLimit


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


@pytest.mark.parametrize("width", [1, 3])
def test_never_more_than_its_width_and_in_the_order_of_coming(width):
    app = App()
    turnstile = ConcurrencyLimit(app, width, frozenset())
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
    turnstile = ConcurrencyLimit(app, 1, frozenset())
    for _ in range(3):
        app.gate.release()
        with pytest.raises(ZeroDivisionError):
            turnstile({"PATH_INFO": "/breaks"}, None)
    app.gate.release()
    assert turnstile({"PATH_INFO": "/"}, None) == [b"done"]


def test_streams_pass_by_it():
    app = App()
    turnstile = ConcurrencyLimit(app, 1, frozenset({"/live"}))
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


@pytest.mark.cases
def test_who_waits_for_others_lets_the_next_one_work_and_comes_back_in_turn() -> None:
    app = App()
    answered, aside = threading.Event(), threading.Event()

    def call(environ, start_response):
        if environ["PATH_INFO"] != "/waits":
            return app(environ, start_response)
        with turnstile.aside():
            with turnstile.aside():  # once is enough
                aside.set()
            answered.wait(5)
        return app(environ, start_response)

    turnstile = ConcurrencyLimit(call, 1, frozenset())
    waits = threading.Thread(target=turnstile, args=({"PATH_INFO": "/waits"}, None))
    waits.start()
    assert aside.wait(5)
    page = threading.Thread(target=turnstile, args=({"PATH_INFO": "/page"}, None))
    page.start()
    until(lambda: app.begun == ["/page"])
    answered.set()
    until(lambda: turnstile.waiting == 1)
    assert app.begun == ["/page"]
    app.gate.release()
    until(lambda: app.begun == ["/page", "/waits"])
    app.gate.release()
    for thread in (waits, page):
        thread.join(5)
    assert app.most == 1
    app.gate.release()
    assert turnstile({"PATH_INFO": "/"}, None) == [b"done"], "no place was lost"
    with turnstile.aside():  # who has no place has none to leave
        app.gate.release()
        assert turnstile({"PATH_INFO": "/"}, None) == [b"done"]


@pytest.mark.cases
def test_all_who_wait_together_leave_threads_for_those_who_do_not() -> None:
    for name in ("appliance_backups", "directory", "mail"):
        importlib.import_module(f"appliance.services.{name}")
    shipped = runpy.run_path(str(Path(webui.__file__).parent / "gunicorn.conf.py"))
    ours = [one for one in Bulkhead.every if one.what != "testing"]  # the tests' own
    uploads = 1
    assert len(ours) >= 5
    waiting = sum(one.places + one.line for one in ours)
    assert live.STREAMS + uploads + waiting + AT_ONCE <= shipped["threads"]
    assert shipped["worker_connections"] > 10 * shipped["threads"]
