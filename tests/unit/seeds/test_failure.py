"""What a failed build says."""

import json

import pytest

from appliance.errors import BadInput, DpeError, Unavailable
from appliance.scenario.applications import CATALOGUE
from appliance.seeds.failure import explain
from appliance.seeds.play import Reporter, message_of


@pytest.mark.badinput
@pytest.mark.parametrize(
    ("message", "kind", "says", "hint"),
    [
        (
            "rc 1\nE: Unable to locate package jupyter-lab-x\nE: mmdebstrap failed to run",
            BadInput,
            "no package jupyter-lab-x,",
            "Correct `packages` of the class notes in scenario.yml",
        ),
        (
            "E: Package 'foo' has no installation candidate\nE: Unable to locate package bar",
            BadInput,
            "no package bar, foo,",
            "scenario.yml",
        ),
        (
            "tar: usr/bin/x: Cannot write: No space left on device",
            Unavailable,
            "The disk was full in the middle of building the seed of notes. 5 of 9 MiB.",
            "Make room",
        ),
        ("E: Unable to locate package x\nNo space left on device", Unavailable, "The disk was full", "Make room"),
        ("E: Failed to fetch http://mirror/dists/trixie/InRelease", Unavailable, "mirror did not answer", "debian_mirror"),
        ("non-zero return code\nno such file: /x", DpeError, "in the task “Copy it”: non-zero return code no such file: /x", "/log/here"),
    ],
)
def test_a_failure_says_what_to_do(message: str, kind: type[DpeError], says: str, hint: str) -> None:
    error = explain("notes", "Copy it", message, log="/log/here", full="5 of 9 MiB.")
    assert type(error) is kind
    assert says in error.message
    assert hint in error.hint


@pytest.mark.cases
@pytest.mark.parametrize(
    ("message", "hint"),
    [
        ("E: Unable to locate package python3-apt", "`packages` of the class notes"),
        ("E: Failed to fetch http://mirror/dists/trixie/InRelease", "Python's are fetched by dpe_wheels"),
        ("<urlopen error [Errno -3] Temporary failure in name resolution>", "no network inside a seed"),
        ("object of type 'dict' has no attribute 'memtotal_mb'", "hardware and network are not known"),
        ("couldn't resolve module/action 'community.general.timezone'.", "Only ansible.builtin is there"),
    ],
)
def test_what_a_role_says_is_about_the_role(message: str, hint: str) -> None:
    error = explain("notes", "Copy it", message, role="web", log="/log/here", full="")
    assert type(error) is BadInput
    assert error.message.startswith("Building the seed of notes failed in the task “Copy it” of the role web: ")
    assert hint in error.hint
    assert "/log/here" in error.hint


def test_the_message_of_a_task_holds_what_its_failed_items_said() -> None:
    result = {
        "msg": "One or more items failed",
        "results": [{"failed": False, "stderr": "fine"}, {"failed": True, "msg": "bad", "stderr": "no such user"}],
    }
    assert message_of(result) == "One or more items failed\nbad\nno such user"


def test_events_become_lines(capsys: pytest.CaptureFixture[str]) -> None:
    report = Reporter()
    report({"event": "playbook_on_task_start", "stdout": "\r\nTASK [One] ***", "event_data": {"name": "One", "task": "One"}})
    report({"event": "runner_on_failed", "stdout": "", "event_data": {"task": "One", "res": {"msg": "ignored"}, "ignore_errors": True}})
    report({"event": "runner_on_ok", "stdout": "ok", "event_data": {"task": "One", "res": {"dpe": {"id": {"ok": True}}}}})
    report({"event": "playbook_on_task_start", "stdout": "", "event_data": {"name": f"{CATALOGUE}/pages : Two"}})
    report(
        {
            "event": "runner_on_failed",
            "stdout": "\x1b[31mfatal\x1b[0m\r\n",
            "event_data": {"task": "Two", "role": f"{CATALOGUE}/pages", "host": "web", "res": {"msg": "broke"}},
        }
    )
    report({"event": "playbook_on_stats", "event_data": {"failures": {"web": 1}, "dark": {"db": 1}, "ok": {"one": 3}}})
    assert [json.loads(line) for line in capsys.readouterr().out.splitlines()] == [
        {"kind": "output", "text": "\nTASK [One] ***"},
        {"kind": "task", "number": 1, "name": "One"},
        {"kind": "output", "text": "ok"},
        {"kind": "task", "number": 2, "name": "pages : Two"},
        {"kind": "output", "text": "fatal"},
        {"kind": "failed", "task": "Two", "message": "broke", "role": "pages", "host": "web"},
        {"kind": "ended", "failed": ["db", "web"]},
    ]
