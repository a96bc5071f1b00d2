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

REFUSED_WITHIN = 2  # seconds in which libvirt's refusal means that nothing has been sent yet
ANSWERS_WITHIN = 30  # seconds for what the agent does at once, on a host that has more to do than it can


def connected(domain: libvirt.virDomain) -> bool:
    """Whether an agent listens. Asking this first keeps libvirt from writing an error to its log at each try."""
    described = ET.fromstring(domain.XMLDesc())  # noqa: S314  it comes from our own libvirtd
    target = described.find(f"devices/channel/target[@name='{Agent.NAME}']")
    return target is not None and target.get("state") == "connected"


def be_patient(domain: libvirt.virDomain) -> None:
    """libvirt greets the agent before each command, and gives up after five seconds unless it is told otherwise, once for a machine's run."""
    domain.agentSetResponseTimeout(ANSWERS_WITHIN)


def begin(domain: libvirt.virDomain, command: Sequence[str], *, input: bytes = b"") -> int:
    """Start a command in the machine, for `ended`. Raises Unavailable when the agent does not take it."""
    arguments: dict[str, Any] = {"path": command[0], "arg": list(command[1:]), "capture-output": True}
    if input:
        arguments["input-data"] = base64.b64encode(input).decode()
    pid: int = _command(domain, "guest-exec", **arguments)["pid"]
    return pid


def ended(domain: libvirt.virDomain, pid: int) -> Executed | None:
    """What a command that was begun ended with; None while it runs. It is told once."""
    status = _command(domain, "guest-exec-status", pid=pid)
    if not status["exited"]:
        return None
    # A command that a signal ended has no exit code; shells say 128 and the signal's number.
    code = status.get("exitcode", 128 + status.get("signal", 0))
    return Executed(code, _decoded(status, "out-data"), _decoded(status, "err-data"))


def execute(domain: libvirt.virDomain, command: Sequence[str], *, input: bytes, deadline: float) -> Executed:
    """Run a command in the machine, whose agent must be connected. Raises Unavailable when it does not end before `deadline`."""
    pid = begin(domain, command, input=input)
    pause = 0.03  # the agent tells nobody when a command ends, and each question takes time from the command
    while (done := ended(domain, pid)) is None:
        if time.monotonic() > deadline:
            raise Unavailable(f"{command[0]} did not end in time in {domain.name()}.", "Look at the load of the machine and of the host.")
        time.sleep(pause)
        pause = min(pause * 1.2, 0.25)
    return done


def _command(domain: libvirt.virDomain, name: str, **arguments: Any) -> Any:
    text = json.dumps({"execute": name, "arguments": arguments} if arguments else {"execute": name})
    begun = time.monotonic()
    while True:
        try:
            return json.loads(libvirt_qemu.qemuAgentCommand(domain, text, ANSWERS_WITHIN, 0))["return"]
        except libvirt.libvirtError as error:
            if error.get_error_code() != libvirt.VIR_ERR_AGENT_UNRESPONSIVE:
                raise
            tried = time.monotonic() - begun
            # Just after a resume libvirt refuses at once, as the agent's port opens anew; what was sent is never sent twice.
            if tried > REFUSED_WITHIN:
                raise Unavailable(
                    f"The guest agent of {domain.name()} does not answer: {error.get_error_message()}.",
                    "Look at the load of the machine and of the host.",
                ) from error
            time.sleep(0.02)


def _decoded(status: dict[str, Any], name: str) -> str:
    return base64.b64decode(status.get(name, "")).decode(errors="replace")
