"""Speaking with the guest agent: what is tried again, and what is never sent twice."""

import base64
import json
import time
from collections.abc import Callable
from typing import Any

import libvirt
import pytest

from appliance.errors import Unavailable
from appliance.hypervisor.libvirt import agent
from appliance.hypervisor.provider import GuestSigns
from tests.unit.hypervisor.fake import FakeDomain, libvirt_error

DOMAIN: Any = FakeDomain("notebook-1")
REFUSED = libvirt_error(libvirt.VIR_ERR_AGENT_UNRESPONSIVE, "Guest agent is not responding")


class Agent:
    """Answers as told; an answer that is an error is raised, one that can be called takes its time."""

    def __init__(self, *answers: object) -> None:
        self.answers, self.asked = list(answers), list[dict[str, Any]]()

    def __call__(self, domain: object, text: str, timeout: int, flags: int) -> str:
        self.asked.append(json.loads(text))
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if callable(answer):
            answer = answer()
        if isinstance(answer, Exception):
            raise answer
        return json.dumps({"return": answer})


@pytest.fixture
def speak(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Agent]:
    def speak(*answers: object) -> Agent:
        made = Agent(*answers)
        monkeypatch.setattr("libvirt_qemu.qemuAgentCommand", made)
        return made

    return speak


def encoded(text: bytes) -> str:
    return base64.b64encode(text).decode()


def test_a_command_its_input_and_what_it_ended_with(speak: Callable[..., Agent]) -> None:
    over = {"exited": True, "exitcode": 3, "out-data": encoded("é".encode()), "err-data": encoded(b"\xff")}
    asked = speak({"pid": 7}, {"exited": False}, over)
    done = agent.execute(DOMAIN, ["/bin/x", "-a"], input=b"in", deadline=time.monotonic() + 5)
    assert (done.status, done.output, done.error) == (3, "é", "�")
    assert [each["execute"] for each in asked.asked] == ["guest-exec", "guest-exec-status", "guest-exec-status"]
    assert asked.asked[0]["arguments"] == {"path": "/bin/x", "arg": ["-a"], "capture-output": True, "input-data": encoded(b"in")}
    assert asked.asked[1]["arguments"] == {"pid": 7}


def test_what_a_signal_ended_has_a_status_too(speak: Callable[..., Agent]) -> None:
    speak({"exited": True, "signal": 9})
    done = agent.ended(DOMAIN, 7)
    assert done is not None
    assert done.status == 137


def test_just_after_a_resume_it_is_asked_again(speak: Callable[..., Agent]) -> None:
    asked = speak(REFUSED, REFUSED, {"pid": 7})
    assert agent.begin(DOMAIN, ["true"]) == 7
    assert len(asked.asked) == 3


def test_an_agent_that_stays_away_is_given_up(speak: Callable[..., Agent], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(agent, "REFUSED_WITHIN", 0.1)
    asked = speak(REFUSED)
    with pytest.raises(Unavailable, match="agent of notebook-1 does not answer"):
        agent.begin(DOMAIN, ["true"])
    assert len(asked.asked) > 2


def test_what_may_have_arrived_is_never_sent_twice(speak: Callable[..., Agent], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(agent, "REFUSED_WITHIN", 0.05)

    def silent() -> Exception:
        time.sleep(0.1)
        return REFUSED

    asked = speak(silent, {"pid": 7})
    with pytest.raises(Unavailable, match="does not answer"):
        agent.begin(DOMAIN, ["useradd", "twice"])
    assert len(asked.asked) == 1


def test_what_was_sent_and_not_answered_is_not_sent_again(speak: Callable[..., Agent]) -> None:
    asked = speak(libvirt_error(agent.NOT_ANSWERED, "Guest agent did not answer"), {"pid": 7})
    with pytest.raises(Unavailable, match="does not answer"):
        agent.begin(DOMAIN, ["useradd", "twice"])
    assert len(asked.asked) == 1


def test_an_agent_that_was_only_greeted_is_tried_again_as_long_as_one_waits(
    speak: Callable[..., Agent], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As libvirt 11 says it, which waits five seconds for that, whatever it is told."""
    monkeypatch.setattr(agent, "REFUSED_WITHIN", 0)
    text = "Guest agent is not responding: guest agent didn't respond to synchronization within '5' seconds"
    silent = libvirt_error(libvirt.VIR_ERR_AGENT_UNRESPONSIVE, text)
    asked = speak(silent, silent, {"pid": 7})
    assert agent.begin(DOMAIN, ["true"], within=5) == 7
    assert len(asked.asked) == 3
    speak(silent)
    with pytest.raises(Unavailable, match="does not answer"):
        agent.begin(DOMAIN, ["true"], within=0.1)


def told(output: str) -> tuple[object, ...]:
    """What the agent answers when it is asked for signs."""
    return {"pid": 7}, {"exited": True, "exitcode": 0, "out-data": encoded(output.encode())}


@pytest.mark.parametrize(
    ("terminals", "expected"),
    [
        ([], GuestSigns(0, 0.25, None)),
        (["alice 990 900 /dev/pts/0", "bob 700 900 /dev/pts/1"], GuestSigns(2, 0.25, 10)),
        (["alice 990 900 /dev/pts/0", "alice 991 900 /dev/pts/1"], GuestSigns(1, 0.25, 9)),
        (["alice 1003 900 /dev/pts/0"], GuestSigns(1, 0.25, 0)),  # a clock that was set meanwhile
        (["alice 700 900 /dev/tty1", "alice 900 900 /dev/ttyS0"], GuestSigns(0, 0.25, None)),  # signed in by the machine itself
        (["alice 700 900 /dev/tty1", "alice 960 900 /dev/ttyS0"], GuestSigns(1, 0.25, 40)),  # and somebody is there
    ],
)
def test_signs(speak: Callable[..., Agent], terminals: list[str], expected: GuestSigns) -> None:
    speak(*told("".join(["load 0.25\nnow 1000\n", *(f"terminal {terminal}\n" for terminal in terminals)])))
    assert agent.signs(DOMAIN, deadline=time.monotonic() + 5, within=5) == expected


@pytest.mark.badinput
@pytest.mark.parametrize("output", ["", "load 0\n", "load much\nnow 1000\n", "load 0\nnow 1000\nterminal alice 7\n"])
def test_a_machine_that_says_something_else_gives_no_signs(speak: Callable[..., Agent], output: str) -> None:
    speak(*told(output))
    with pytest.raises(Unavailable, match="does not say"):
        agent.signs(DOMAIN, deadline=time.monotonic() + 5, within=5)


def test_every_other_refusal_is_told_at_once(speak: Callable[..., Agent]) -> None:
    asked = speak(libvirt_error(libvirt.VIR_ERR_OPERATION_INVALID, "domain is not running"))
    with pytest.raises(libvirt.libvirtError, match="not running"):
        agent.begin(DOMAIN, ["true"])
    assert len(asked.asked) == 1


def test_a_command_that_does_not_end_is_left_at_the_deadline(speak: Callable[..., Agent]) -> None:
    speak({"pid": 7}, {"exited": False})
    with pytest.raises(Unavailable, match="sleep did not end in time in notebook-1"):
        agent.execute(DOMAIN, ["sleep", "9"], input=b"", deadline=time.monotonic() + 0.1)


@pytest.mark.parametrize(("state", "expected"), [("connected", True), ("disconnected", False), (None, False)])
def test_connected(state: str | None, expected: bool) -> None:
    told = "" if state is None else f"state='{state}'"
    xml = f"<domain><devices><channel><target type='virtio' name='org.qemu.guest_agent.0' {told}/></channel></devices></domain>"
    domain: Any = FakeDomain("m", xml)
    assert agent.connected(domain) is expected
