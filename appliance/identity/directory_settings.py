"""The directory as the catalog keeps it: whether it is used, and how it is reached."""

from typing import Any

from appliance.catalog import options
from appliance.identity import secrets
from appliance.identity.directory_config import Config, config

PURPOSE = "directory"


def entered() -> dict[str, Any]:
    """The configuration as it was entered, without the password; empty before there is one."""
    values: dict[str, Any] = options.get("directory").get("config", {})
    return values


def is_on() -> bool:
    """Whether people sign in through the directory and are synchronised."""
    on: bool = options.get("directory").get("on", False)
    return on


def is_none() -> bool:
    """Whether somebody said that there is no directory."""
    none: bool = options.get("directory").get("none", False)
    return none


def has_password() -> bool:
    """Whether a password of the reading account is kept."""
    return bool(options.get("directory").get("password"))


def password() -> str:
    """The reading account's password; empty when none is kept."""
    sealed = options.get("directory").get("password")
    return secrets.unseal(PURPOSE, sealed) if sealed else ""


def current() -> tuple[Config, str] | None:
    """The configuration and the reading account's password; None while no directory is used."""
    return (config(entered()), password()) if is_on() else None
