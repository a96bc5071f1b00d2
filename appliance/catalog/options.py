"""What an admin decided in the web page, as named plain values."""

import dataclasses
import json
from typing import Any

from appliance.catalog.database import rows
from appliance.catalog.models import Option
from appliance.settings import Settings

DEFAULTS: dict[str, Any] = {
    "setup_done": False,
    "setup_code": "",  # SHA-256 of the setup code, until it is used
    "title": "",  # what the appliance is called; empty means the scenario's title
    "time_zone": "UTC",
    "language": "en",  # of pages for whose browser asks for none of ours, and of mails to who chose none
    "holidays": {},  # country, part, own and without; see catalog.public_holidays
    "syslog": {},  # host, port and transport of the receiver of events; empty means none
    "syslog_position": 0,  # the last event that the receiver has
    "invitation_days": 7,  # for which an invitation is good
    "kept_days": 0,  # for which somebody may stay signed in on a device where they ask for it; 0: nobody may
    "codes_required": [],  # roles whose holders must use one-time codes
    "audit_check": {},  # what the last look at the whole record found
    "event_listeners": {},  # how far each function of another package was told of events, by its name
    "syslog_problem": "",  # why it does not take events now
    "directory": {},  # on, config (see people.directory_config) and the reading account's password, sealed; `none`: an admin said that there is none
    "ssh_server": False,  # whether the appliance's own SSH server is there
    "address": "",  # where others reach the web page, like https://dpe.example.org:8443; empty means that nobody said it
    "machine_names": "",  # the domain below which machines have names on the page's port, like dpe.example.org; empty: they have ports
    "mail": {},  # on, server (see outside.mail.Server) and the password of its account, sealed
    "webhooks": {},  # secret and the one before it, sealed, with the time until which that is good; authority: PEM
    "settings": {},  # those of the host that an admin has decided otherwise, by name; see `chosen`
    "overcommit": 100,  # percent: how much memory people may hold for each 100 that there are
    "memory": {},  # what that comes to in MiB, as the engine found it; see catalog.memory.Allowed
    "restored": {},  # id, at and taken_at of the backup that the appliance was last restored from
    "proof": {},  # see catalog.proofs
    "restart": {},  # at, why: a restart that everybody is told of
    "offered_seeds": {},  # by class: folder and built (ISO 8601) of a newer seed that came with the image; see lifecycle.seedruns
    "package_index": {},  # by release: whether it is to be read, and why it could not be; see catalog.package_index
    "lineage": {},  # id and generation: which catalog this is; see catalog.lineage
    "undecided": {},  # why nothing is made and nothing removed until an admin decides, and what they decided; see lifecycle.aside
    "aside_days": 30,  # after which what is set aside is removed; 0: never
    "trends": {},  # whole days until disk and memory are used up, of what comes soon; see engine.trends
    "withdrawn_applications": [],  # names of those that classes which do not have them are not offered
    "hidden_applications": [],  # names of a scenario's own that one which came with the appliance has, too; it was said
    "scenario": {},  # name, title and description of the scenario last loaded
}


def get(name: str) -> Any:
    """The value of the option, or its default. Raises KeyError for a name that is no option."""
    default = DEFAULTS[name]
    found = rows("SELECT value FROM option WHERE name = ?", (name,))  # each request asks for some
    return json.loads(found[0][0]) if found else default


def put(name: str, value: Any) -> None:
    """Set the option; call it inside `write()`."""
    if name not in DEFAULTS:
        raise KeyError(name)
    Option.insert(name=name, value=value).on_conflict_replace().execute()


def chosen(settings: Settings) -> Settings:
    """The settings of the host, with those that an admin has decided otherwise: to be asked for where they are used, as they change at any time."""
    return dataclasses.replace(settings, **get("settings"))
