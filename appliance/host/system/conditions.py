"""How parts of the server stand, written down whenever it changes: `host/conditions.json`, which anybody may read and nobody has to ask for.

A module adds its part by `@condition("name")` above a function `(settings) -> model`; the name is a field of interface/conditions.py.
"""

import logging
from collections.abc import Callable
from pathlib import Path

from pydantic import BaseModel

from appliance import durable
from appliance.errors import DpeError
from appliance.host.interface.conditions import Conditions
from appliance.host.rpc.periodic import every
from appliance.settings import Settings

log = logging.getLogger(__name__)

OFTEN = 5.0  # seconds

Look = Callable[[Settings], BaseModel]
PARTS: dict[str, Look] = {}


def condition(name: str) -> Callable[[Look], Look]:
    """Have the function tell this part."""
    assert name in Conditions.model_fields, name

    def add(look: Look) -> Look:
        PARTS[name] = look
        return look

    return add


def file(settings: Settings) -> Path:
    return settings.host / "conditions.json"


def known(settings: Settings) -> Conditions:
    """What was written down last; nothing, before that."""
    try:
        return Conditions.model_validate_json(file(settings).read_bytes())
    except (OSError, ValueError):
        return Conditions()


@every(OFTEN)
def write_conditions(settings: Settings) -> None:
    """Look at every part; one that cannot tell how it stands is left out."""
    found = {}
    for name, look in PARTS.items():
        try:
            found[name] = look(settings)
        except (DpeError, OSError, ValueError):  # whoever asks for it by a verb is told why
            log.debug("how %s stands cannot be told", name, exc_info=True)
    now = Conditions.model_validate(found)
    if now != known(settings) or not file(settings).exists():
        durable.write(file(settings), now.model_dump_json(indent=1), mode=0o644)
