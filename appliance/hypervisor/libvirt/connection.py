"""The connection to our own libvirtd: opened when needed, opened again when it broke, and the one event loop."""

import contextlib
import functools
import threading
import time
from collections.abc import Callable, Iterator

import libvirt

from appliance.errors import DpeError, NotFound, Unavailable

Changed = Callable[[str], None]


@functools.cache
def _start_event_loop() -> None:
    """libvirt wants its loop registered before the first connection, and once a process."""
    libvirt.registerErrorHandler(lambda _context, _error: None, None)  # errors come as exceptions; stderr need not have them too
    libvirt.virEventRegisterDefaultImpl()

    def loop() -> None:
        while True:
            libvirt.virEventRunDefaultImpl()

    threading.Thread(target=loop, name="libvirt-events", daemon=True).start()


@contextlib.contextmanager
def ignoring(*codes: int) -> Iterator[None]:
    """Go on after the libvirt errors with these codes."""
    try:
        yield
    except libvirt.libvirtError as error:
        if error.get_error_code() not in codes:
            raise


class Connection:
    """One connection for all threads of a process. Nothing is ever concluded from its silence."""

    def __init__(self, uri: str) -> None:
        _start_event_loop()
        self._uri = uri
        self._open: libvirt.virConnect | None = None
        self._callbacks: list[int] = []
        self._lock = threading.Lock()
        self._watchers: list[Changed] = []
        self._news = threading.Condition()
        self._count = 0

    @contextlib.contextmanager
    def use(self) -> Iterator[libvirt.virConnect]:
        """The connection. libvirt's errors become ours: Unavailable while libvirtd is away, NotFound for a machine that it does not know."""
        try:
            yield self._get()
        except libvirt.libvirtError as error:
            text = error.get_error_message() or str(error)
            if error.get_error_domain() in (libvirt.VIR_FROM_RPC, libvirt.VIR_FROM_REMOTE):
                raise Unavailable(
                    f"The hypervisor (libvirtd) does not answer: {text}.",
                    "Machines that run go on running. Work goes on when it is back; if it does not come back, look at libvirtd's log.",
                ) from error
            if error.get_error_code() == libvirt.VIR_ERR_NO_DOMAIN:
                raise NotFound(f"The hypervisor has no such machine: {text}.") from error
            raise DpeError(f"The hypervisor refused: {text}.", "Look at libvirtd's log.") from error

    def _get(self) -> libvirt.virConnect:
        with self._lock:
            if self._open is None or not self._open.isAlive():
                self._drop()
                fresh = libvirt.open(self._uri)
                self._open = fresh
                events = {
                    libvirt.VIR_DOMAIN_EVENT_ID_LIFECYCLE: self._lifecycle,
                    libvirt.VIR_DOMAIN_EVENT_ID_AGENT_LIFECYCLE: lambda *_: self._tell(),
                    libvirt.VIR_DOMAIN_EVENT_ID_DEVICE_REMOVED: lambda *_: self._tell(),
                    libvirt.VIR_DOMAIN_EVENT_ID_JOB_COMPLETED: lambda *_: self._tell(),
                }
                self._callbacks = [fresh.domainEventRegisterAny(None, event, call, None) for event, call in events.items()]
                fresh.registerCloseCallback(lambda *_: self._tell(), None)
                with ignoring(libvirt.VIR_ERR_NO_SUPPORT):  # libvirt's own test driver has no wire
                    fresh.setKeepAlive(5, 6)
            return self._open

    def _drop(self) -> None:
        if self._open is None:
            return
        gone, self._open = self._open, None
        # As long as one of these is registered libvirt keeps the connection open.
        for callback in self._callbacks:
            with contextlib.suppress(libvirt.libvirtError):
                gone.domainEventDeregisterAny(callback)
        with contextlib.suppress(libvirt.libvirtError):
            gone.unregisterCloseCallback()
        with contextlib.suppress(libvirt.libvirtError):
            gone.close()

    def close(self) -> None:
        """Give the connection back; the next use opens another."""
        with self._lock:
            self._drop()

    # -- events -----------------------------------------------------------------------------

    def watch(self, changed: Changed) -> None:
        """Call `changed(id)` from the event loop's thread whenever a machine's power changes."""
        self._watchers.append(changed)

    def _lifecycle(self, _connection: libvirt.virConnect, domain: libvirt.virDomain, *_: object) -> None:
        self._tell()
        for watcher in self._watchers:
            watcher(domain.UUIDString())

    def _tell(self) -> None:
        with self._news:
            self._count += 1
            self._news.notify_all()

    def until(self, ready: Callable[[], bool], deadline: float, pause: float) -> bool:
        """Ask at every event, and after `pause` seconds without one, until it is so; False when the deadline came first."""
        while True:
            seen = self._count
            if ready():
                return True
            if (left := deadline - time.monotonic()) <= 0:
                return False
            with self._news:
                self._news.wait_for(lambda seen=seen: self._count != seen, min(pause, left))  # type: ignore[misc]
