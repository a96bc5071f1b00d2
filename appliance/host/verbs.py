"""The verbs that `dpe-host` knows: each a function of a pydantic model, by name.

A *quick* verb answers at once; a *long* one is a task, which the daemon runs beside and keeps record of. A module adds its verbs by
`@verb("network.set")` above a function `(args, host) -> result`, where `args` is of the model that the function's first parameter names,
`host` is the Host below, and the result is what JSON can hold.
"""

import importlib
import inspect
import json
import pkgutil
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, get_type_hints

from pydantic import BaseModel, ConfigDict, ValidationError

import appliance.host
from appliance.errors import BadInput, DpeError, NotFound
from appliance.settings import Settings


class Arguments(BaseModel):
    """The arguments of a verb that takes none; others inherit from it."""

    model_config = ConfigDict(extra="forbid", str_max_length=64 << 10)


@dataclass
class Host:
    """What a verb is given besides its arguments. `by` names who asked, for the record."""

    settings: Settings
    by: str = ""
    cancelled: threading.Event = field(default_factory=threading.Event)
    tell: Callable[[str, int | None], None] = lambda line, progress: None
    """Say what a long verb is doing now, and how far it is, in per cent, or None when that is not known."""


Function = Callable[[Any, Host], Any]


@dataclass(frozen=True)
class Verb:
    """A verb: `title` is what a person calls it, and a task of it. One that is for `root` is not for the web process."""

    name: str
    title: str
    model: type[Arguments]
    do: Function
    long: bool
    root: bool = False


VERBS: dict[str, Verb] = {}


def verb(name: str, *, title: str = "", long: bool = False, root: bool = False) -> Callable[[Function], Function]:
    """Add a verb; its first parameter's type is its model."""

    def add(do: Function) -> Function:
        assert name not in VERBS, name
        model = get_type_hints(do)[next(iter(inspect.signature(do).parameters))]
        assert issubclass(model, Arguments), name
        VERBS[name] = Verb(name, title or name, model, do, long, root)
        return do

    return add


def load() -> None:
    """Import every module here, which add their verbs; the daemon, which is a program, has its own already."""
    for module in pkgutil.iter_modules(appliance.host.__path__):
        if module.name != "daemon":
            importlib.import_module(f"appliance.host.{module.name}")


def find(name: str, given: dict[str, Any]) -> tuple[Verb, Arguments]:
    """The verb and its arguments, checked: each is of its own type, and none is taken for one. Raises NotFound and BadInput."""
    found = VERBS.get(name)
    if found is None:
        raise NotFound(
            f"This host knows no verb {name!r}.", "The web page and the host may be of different versions; restart the appliance."
        )
    try:
        return found, found.model.model_validate_json(json.dumps(given), strict=True)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        cause = first.get("ctx", {}).get("error")
        if isinstance(cause, DpeError):
            raise cause from None
        where = ".".join(map(str, first["loc"]))
        raise BadInput(f"{where or name}: {first['msg']}.", "Mend it and try again.") from None
