"""What this host alone is told: name, network, clock, shell. One JSON file, `host.json`, for root alone.

It is read before there is a catalog. When it cannot be read, the host asks for an address by DHCP and says so.
"""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError, field_validator

from appliance import durable
from appliance.errors import BadInput, DpeError
from appliance.host.interface.network import Network, check_address, check_host_name, is_name
from appliance.settings import Settings

MOST_NTP = 8

_writing = threading.Lock()


class HostConfig(BaseModel):
    """All of it. What another version keeps in the file besides stays in it. Empty `ntp` means those that DHCP names."""

    model_config = ConfigDict(extra="allow")

    hostname: str = "dpe"
    network: Network = Network()
    ntp_enabled: bool = True
    ntp: list[str] = []
    shell_enabled: bool = False

    @field_validator("hostname")
    @classmethod
    def _check_name(cls, name: str) -> str:
        return check_host_name(name)

    @field_validator("ntp")
    @classmethod
    def _check_ntp(cls, ntp: list[str]) -> list[str]:
        found = list(dict.fromkeys(one.strip().lower() for one in ntp if one.strip()))
        for one in found:
            if not is_name(one) and ":" not in one:
                raise BadInput(f"{one!r} is no name of a time server.", "Write names or addresses, like ntp.example.org.", field="servers")
            if ":" in one:
                check_address(one, "The time server", "servers")
        if len(found) > MOST_NTP:
            raise BadInput(f"{len(found)} time servers are more than {MOST_NTP}.", "Keep the nearest ones.", field="servers")
        return found


def file(settings: Settings) -> Path:
    return settings.host / "host.json"


def read(settings: Settings) -> tuple[HostConfig, str]:
    """The configuration, and why it is not the one in the file, when that is so: then it is what a fresh appliance has."""
    try:
        return HostConfig.model_validate(json.loads(file(settings).read_text())), ""
    except FileNotFoundError:
        return HostConfig(), ""
    except (OSError, ValueError, DpeError) as error:
        why = error.errors()[0]["msg"] if isinstance(error, ValidationError) else str(error)
        return (
            HostConfig(),
            f"What was told to this server cannot be read ({why}), so it has the name dpe and asks for its address by DHCP.",
        )


@contextmanager
def change(settings: Settings) -> Iterator[HostConfig]:
    """The configuration to change in place; written when the block ends well. A file that could not be read is kept beside as host.json.broken."""
    with _writing:
        config, complaint = read(settings)
        yield config
        checked = HostConfig.model_validate(config.model_dump())
        if complaint:
            file(settings).rename(file(settings).with_suffix(".json.broken"))
        durable.write(file(settings), checked.model_dump_json(indent=1, exclude_none=True) + "\n")
