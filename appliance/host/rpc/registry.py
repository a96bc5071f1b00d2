"""Who does each verb in this process: a module of dpe-host says so by `@implements(VERB)` above a function `(args, host) -> result`."""

import importlib
import pkgutil
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Generic

import appliance.host
from appliance.errors import NotFound
from appliance.host.rpc.verb import VERSIONS, A, LongVerb, R, Verb
from appliance.settings import Settings

if TYPE_CHECKING:
    from appliance.host.rpc.operations import Operations


@dataclass
class Host:
    """What a verb is given besides its arguments. `by` names who asked, for the record; `operations` are the daemon's."""

    settings: Settings
    by: str = ""
    cancelled: threading.Event = field(default_factory=threading.Event)
    tell: Callable[[str, int | None], None] = lambda line, progress: None
    """Say what a long verb is doing now, and how far it is, in per cent, or None when that is not known."""
    operations: "Operations | None" = None


@dataclass(frozen=True)
class Handler(Generic[A, R]):
    """A verb, and the function that does it."""

    verb: Verb[A, R] | LongVerb[A, R]
    do: Callable[[A, Host], R]


HANDLERS: dict[str, Handler[Any, Any]] = {}


def implements(verb: Verb[A, R] | LongVerb[A, R]) -> Callable[[Callable[[A, Host], R]], Callable[[A, Host], R]]:
    """Have the function do this verb."""

    def add(do: Callable[[A, Host], R]) -> Callable[[A, Host], R]:
        assert verb.name not in HANDLERS, verb.name
        HANDLERS[verb.name] = Handler(verb, do)
        return do

    return add


def load() -> None:
    """Import every module of dpe-host, which say what they do; the daemon, which is a program, does nothing itself."""
    for module in pkgutil.walk_packages(appliance.host.__path__, "appliance.host."):
        if module.name != "appliance.host.rpc.daemon":
            importlib.import_module(module.name)


def find(name: str) -> Handler[Any, Any]:
    """Who does the verb of this name. Raises NotFound."""
    found = HANDLERS.get(name)
    if found is None:
        raise NotFound(f"This host knows no verb {name!r}.", VERSIONS)
    return found
