"""The wizard's step for a directory, which may be left out: the few things that every directory needs. The rest has its page."""

from typing import Any

from flask import flash

from appliance.catalog import Actor
from appliance.errors import DpeError
from appliance.identity.directory_config import wrong
from appliance.services import directory
from webui.admin.directory import ENCRYPTION, KINDS, NEW

FIELDS = ("kind", "servers", "encryption", "base", "bind_dn", "authority")
DEFAULTS = {"dir_use": "", "dir_password": ""} | {f"dir_{name}": "" if name == "servers" else str(NEW[name]) for name in FIELDS}
CHOICES = {"KINDS": KINDS, "ENCRYPTION": ENCRYPTION}


def _entered(values: dict[str, str]) -> dict[str, Any]:
    typed = {name: values[f"dir_{name}"].strip() for name in FIELDS}
    return {**NEW, **typed, "servers": tuple(typed["servers"].replace(",", " ").split())}


def check(values: dict[str, str]) -> dict[str, str]:
    """What is wrong with it, when one is wanted."""
    if not values["dir_use"]:
        return {}
    errors = {f"dir_{name}": said for name, said in wrong(_entered(values)).items()}
    if values["dir_bind_dn"].strip() and not values["dir_password"]:
        errors |= {"dir_password": "The reading account's password is missing. Type it, or leave the account's name empty too."}
    return errors


def test(values: dict[str, str]) -> tuple[list[directory.Finding], dict[str, str]]:
    """Try it; what was found, or why it could not be tried."""
    try:
        return directory.check_directory(_entered(values), values["dir_password"]), {}
    except DpeError as error:
        return [], {"": str(error)}


def use(actor: Actor, values: dict[str, str]) -> None:
    """Use it from now on; the appliance is set up by now, so what is refused is mended on its own page."""
    if not values["dir_use"]:
        return
    try:
        directory.change(actor, _entered(values), values["dir_password"])
    except DpeError as error:
        flash(f"The directory is not in use: {error} You find it under Accounts, Directory.", "warning")
