"""What the rescue page needs to know to let somebody in, kept where it can read it when the catalog is gone.

`<state>/rescue/owners.json`, readable for the rescue page alone: the owners' names, password hashes and what their one-time codes are made
from. It is written anew when the catalog says something else; a catalog without an owner, or one that cannot be read, does not empty it.
"""

import contextlib
import grp
import json
import os
from dataclasses import asdict
from pathlib import Path

from appliance import durable, layout
from appliance.catalog import rescue_owners
from appliance.catalog.rescue_owners import Keys, Owner
from appliance.errors import DpeError
from appliance.host.interface import rescue, system
from appliance.host.rpc.periodic import every
from appliance.host.rpc.registry import HANDLERS, Host, implements
from appliance.host.rpc.verb import Nothing
from appliance.language import SOURCE
from appliance.settings import Settings

OFTEN = 15.0  # seconds


def file(settings: Settings) -> Path:
    return settings.state / "rescue" / "owners.json"


def kept(settings: Settings) -> Keys:
    """What was last written there; nobody, when there is nothing that can be read."""
    try:
        said = json.loads(file(settings).read_text())
        people = tuple(Owner(**{**one, "recovery": tuple(one["recovery"])}) for one in said["owners"])
        return Keys(people, said["setup_code"], said["title"], said.get("language", SOURCE))
    except (OSError, ValueError, LookupError, TypeError):
        return Keys((), "", "")


@every(OFTEN)
def write_rescue(settings: Settings) -> None:
    """Read the catalog once more, and write down what changed."""
    before = kept(settings)
    try:
        found = rescue_owners.read_owners(settings.catalog)
    except DpeError:  # then what is kept is what there is
        return
    if found == before or (before.owners and not found.owners):
        return
    place = file(settings)
    group = durable.SAME
    if os.geteuid() == 0:
        with contextlib.suppress(KeyError):
            group = grp.getgrnam(layout.RESCUE).gr_gid
    place.parent.mkdir(mode=0o750, exist_ok=True)
    os.chown(place.parent, durable.SAME, group)
    place.parent.chmod(0o750)
    durable.write(place, json.dumps(asdict(found)), mode=0o640, group=group)


@implements(rescue.KEEP_OWNERS)
def _keep(args: Nothing, host: Host) -> None:
    write_rescue(host.settings)


@implements(system.VERBS)
def _verbs(args: Nothing, host: Host) -> list[str]:
    return sorted(HANDLERS)
