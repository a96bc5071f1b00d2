"""What dpe-host can be asked for: a module a subject, with the verbs, and the models of their arguments and results.

Whoever asks imports from here, and nothing of what does it.
"""

import importlib
import pkgutil
from typing import Any

from appliance.host.rpc.verb import LongVerb, Verb

AnyVerb = Verb[Any, Any] | LongVerb[Any, Any]


def declared() -> dict[str, AnyVerb]:
    """Every verb, by name."""
    modules = (importlib.import_module(f"{__name__}.{module.name}") for module in pkgutil.iter_modules(__path__))
    verbs = {id(one): one for module in modules for one in vars(module).values() if isinstance(one, Verb | LongVerb)}
    names = [one.name for one in verbs.values()]
    assert len(names) == len(set(names)), sorted(name for name in names if names.count(name) > 1)
    return {one.name: one for one in sorted(verbs.values(), key=lambda one: one.name)}
