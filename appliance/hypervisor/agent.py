"""Speaking with the QEMU guest agent in a machine."""

import base64
import json
import time
import xml.etree.ElementTree as ET
from collections.abc import Sequence
from typing import Any

import libvirt
import libvirt_qemu

from appliance.errors import Unavailable
from appliance.hypervisor.provider import Executed
from appliance.hypervisor.xml import Agent

ANSWERS_WITHIN = 30  # seconds for what the agent does at once, on a host that has more to do than it can


def connected(domain: libvirt.virDomain) -> bool:
    """Whether an agent listens. Asking this first keeps libvirt from writing an error to its log at each try."""
    described = ET.fromstring(domain.XMLDesc())  # noqa: S314  it comes from our own libvirtd
    target = described.find(f"devices/channel/target[@name='{Agent.NAME}']")
    return target is not None and target.get("state") == "connected"


def answers(domain: libvirt.virDomain) -> bool:
    """Whether the agent answers a ping soon."""
    if not connected(domain):
        return False
    try:
        _command(domain, "guest-ping", 5)
    except libvirt.libvirtError as error:
        if error.get_error_code() in (libvirt.VIR_ERR_AGENT_UNRESPONSIVE, libvirt.VIR_ERR_AGENT_UNSYNCED):
            return False
        raise
    return True


def execute(domain: libvirt.virDomain, command: Sequence[str], *, input: bytes, deadline: float) -> Executed:
    """Run a command in the machine, whose agent must be connected. Raises Unavailable when it does not end before `deadline`."""
    arguments: dict[str, Any] = {"path": command[0], "arg": list(command[1:]), "capture-output": True}
    if input:
        arguments["input-data"] = base64.b64encode(input).decode()
    try:
        pid = _command(domain, "guest-exec", ANSWERS_WITHIN, **arguments)["pid"]
        pause = 0.02  # the agent tells nobody when a command ends
        while not (status := _command(domain, "guest-exec-status", ANSWERS_WITHIN, pid=pid))["exited"]:
            if time.monotonic() > deadline:
                raise Unavailable(
                    f"{command[0]} did not end in time in {domain.name()}.", "Look at the load of the machine and of the host."
                )
            time.sleep(pause)
            pause = min(pause * 1.5, 0.25)
    except libvirt.libvirtError as error:
        if error.get_error_code() == libvirt.VIR_ERR_AGENT_UNRESPONSIVE:
            raise Unavailable(
                f"The guest agent of {domain.name()} does not answer: {error.get_error_message()}.",
                "Look at the load of the machine and of the host.",
            ) from error
        raise
    # A command that a signal ended has no exit code; shells say 128 and the signal's number.
    code = status.get("exitcode", 128 + status.get("signal", 0))
    return Executed(code, _decoded(status, "out-data"), _decoded(status, "err-data"))


def _command(domain: libvirt.virDomain, name: str, timeout: int, **arguments: Any) -> Any:
    text = json.dumps({"execute": name, "arguments": arguments} if arguments else {"execute": name})
    return json.loads(libvirt_qemu.qemuAgentCommand(domain, text, timeout, 0))["return"]


def _decoded(status: dict[str, Any], name: str) -> str:
    return base64.b64decode(status.get(name, "")).decode(errors="replace")
