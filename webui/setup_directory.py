"""The wizard's step for a directory, which may be left out: the few things that every directory needs. The rest has its page."""

from typing import Annotated, Self

from flask import flash
from pydantic import ConfigDict, Field, model_validator

from appliance.catalog import Actor
from appliance.errors import DpeError
from appliance.identity.directory_config import wrong
from appliance.services import directory
from webui.admin.directory import Reached
from webui.forms import FormError, OneOf

USED = "yes"


class Directory(Reached):
    """Among the wizard's other fields, its own begin with `dir_`; they are looked at when one is used."""

    model_config = ConfigDict(alias_generator="dir_{}".format)

    use: Annotated[str, OneOf({"": "Later", "none": "There is none", "yes": "Use this one"})] = Field("", title="Directory")

    @model_validator(mode="after")
    def _can_be_used(self) -> Self:
        found = wrong(self.values()) if self.use == USED else {}
        if self.use == USED and self.bind_dn and not self.password:
            found |= {"password": "The reading account's password is missing. Type it, or leave the account's name empty too."}
        if found:
            raise FormError(type(self), found)
        return self


def use(actor: Actor, asked: Directory) -> None:
    """Use it from now on; the appliance is set up by now, so what is refused is mended on its own page."""
    try:
        if asked.use == "none":
            directory.say_none(actor)
        elif asked.use == USED:
            directory.change(actor, asked.values(), asked.password)
    except DpeError as error:
        flash(f"The directory is not in use: {error} You find it under Accounts, Directory.", "warning")
