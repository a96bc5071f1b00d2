"""How to reach the directory, and where it keeps what we ask for."""

import re
from typing import Any, Literal, NamedTuple

import ldap.dn
from pydantic import BaseModel, ConfigDict, ValidationError, field_validator, model_validator

from appliance.connect import check_authority
from appliance.errors import BadInput


class Shape(NamedTuple):
    """Where a kind of directory keeps what we ask for."""

    title: str
    people: str
    groups: str
    units: str
    id: str
    name: str
    full_name: str
    mail: str


SHAPES = {
    "ldap": Shape(
        "LDAP",
        people="(&(objectClass=person)(uid=*))",
        groups="(|(objectClass=groupOfNames)(objectClass=groupOfUniqueNames)(objectClass=posixGroup))",
        units="(objectClass=organizationalUnit)",
        id="entryUUID",
        name="uid",
        full_name="displayName cn",
        mail="mail",
    ),
    "ad": Shape(
        "Active Directory",
        people="(&(objectClass=user)(!(objectClass=computer)))",
        groups="(objectClass=group)",
        units="(objectClass=organizationalUnit)",
        id="objectGUID",
        name="sAMAccountName",
        full_name="displayName cn",
        mail="mail",
    ),
}

PORTS = {"starttls": 389, "ldaps": 636, "none": 389}
DISABLED = ("userAccountControl", "nsAccountLock", "pwdAccountLockedTime")

SERVER = re.compile(r"(?P<host>\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9]([A-Za-z0-9._-]{0,252}))(:(?P<port>[0-9]{1,5}))?")
ATTRIBUTE = re.compile(r"[A-Za-z][A-Za-z0-9-]{0,63}")


class Config(BaseModel):
    """How to reach the directory and what to read there. Raises pydantic's ValidationError; see `config()`."""

    model_config = ConfigDict(frozen=True, extra="forbid", str_strip_whitespace=True)

    kind: Literal["ldap", "ad"] = "ldap"
    servers: tuple[str, ...]
    encryption: Literal["starttls", "ldaps", "none"] = "starttls"
    authority: str = ""  # PEM; empty means the authorities that the system trusts
    bind_dn: str = ""  # empty means that the directory is read without a name
    base: str
    sign_in: Literal["search", "direct"] = "search"
    template: str = ""
    minutes: int = 60  # between synchronisations; 0 means only when somebody asks
    people: str = ""
    groups: str = ""
    units: str = ""
    id: str = ""
    name: str = ""
    full_name: str = ""
    mail: str = ""

    @property
    def shape(self) -> Shape:
        """Where everything is: the kind's own places, or those that were entered."""
        usual = SHAPES[self.kind]
        return Shape(*(getattr(self, field, "") or getattr(usual, field) for field in Shape._fields))

    @property
    def reads_whom(self) -> list[str]:
        """The attributes asked for of each person."""
        shape = self.shape
        return [shape.id, shape.name, *shape.full_name.split(), shape.mail, *DISABLED]

    @field_validator("servers")
    @classmethod
    def _servers(cls, servers: tuple[str, ...]) -> tuple[str, ...]:
        if not servers:
            raise ValueError("Name at least one server.")
        for server in servers:
            found = SERVER.fullmatch(server)
            if not found or not 0 < int(found["port"] or 1) < 65536:
                raise ValueError(f"{server!r} is not a server's name. Write one like ldap.example.org or ldap.example.org:636, one a line.")
        return servers

    @field_validator("authority")
    @classmethod
    def _authority(cls, pem: str) -> str:
        try:
            return check_authority(pem)
        except BadInput as error:
            raise ValueError(str(error)) from error

    @field_validator("base")
    @classmethod
    def _base(cls, base: str) -> str:
        if not base or not ldap.dn.is_dn(base):
            raise ValueError(f"{base!r} is not a place in a directory. Write one like dc=example,dc=org.")
        return base

    @field_validator("people", "groups", "units")
    @classmethod
    def _filter(cls, text: str) -> str:
        if text and not (text.startswith("(") and text.endswith(")")):
            raise ValueError(f"{text!r} is not a filter. Write one in brackets, like (objectClass=person).")
        return text

    @field_validator("id", "name", "full_name", "mail")
    @classmethod
    def _attribute(cls, text: str) -> str:
        if any(not ATTRIBUTE.fullmatch(name) for name in text.split()):
            raise ValueError(f"{text!r} is not the name of an attribute. Write one like uid.")
        return text

    @field_validator("minutes")
    @classmethod
    def _minutes(cls, minutes: int) -> int:
        if not (minutes == 0 or 5 <= minutes <= 7 * 24 * 60):
            raise ValueError("Synchronise every 5 minutes to every week, or write 0 for only when somebody asks.")
        return minutes

    @model_validator(mode="after")
    def _direct(self) -> "Config":
        if self.sign_in == "direct" and self.template.count("{name}") != 1:
            raise ValueError("Binding directly needs a pattern with {name} in it, like uid={name},ou=people,dc=example,dc=org.")
        return self


def config(values: dict[str, Any]) -> Config:
    """The values as a Config. Raises BadInput, saying which one and why."""
    try:
        return Config(**values)
    except ValidationError as error:
        first = error.errors()[0]
        text = str(first["ctx"]["error"]) if "error" in first.get("ctx", {}) else f"{first['loc'][0]}: {first['msg']}."
        message, _, hint = text.partition(". ")
        raise BadInput(message.rstrip(".") + ".", hint, field=str(first["loc"][0]) if first["loc"] else "template") from error


def wrong(values: dict[str, Any]) -> dict[str, str]:
    """What cannot be used of the values, by name; empty when all can."""
    try:
        Config(**values)
    except ValidationError as error:
        return {str(one["loc"][0]) if one["loc"] else "": one["msg"].removeprefix("Value error, ") for one in error.errors()}
    return {}


def address(config: Config, server: str) -> tuple[str, int]:
    """Host and port of a server."""
    found = SERVER.fullmatch(server)
    assert found is not None
    return found["host"].strip("[]"), int(found["port"] or PORTS[config.encryption])
