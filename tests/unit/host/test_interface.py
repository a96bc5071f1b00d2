"""What dpe-host can be asked for: declared once, done by somebody, and the same on both sides of the socket."""

import json
import re
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from mypy import api
from pydantic import TypeAdapter

from appliance import layout
from appliance.errors import BadInput, Unavailable
from appliance.host.interface import AnyVerb, access, declared, network, system, updates
from appliance.host.rpc import registry
from appliance.host.rpc.client import Client
from appliance.host.rpc.verb import LongVerb, Nothing, Verb
from appliance.host.rpc.wire import Answer
from appliance.settings import REPOSITORY, Settings, load

README = REPOSITORY / "appliance/host/interface/README.md"


def test_every_verb_is_declared_and_done() -> None:
    registry.load()
    ours = {name: one.verb for name, one in registry.HANDLERS.items() if not name.startswith("test.")}
    assert ours == declared()


def untyped(schema: Any, at: str = "") -> list[str]:
    """Where a JSON schema says nothing of what is there."""
    if isinstance(schema, list):
        return [found for one in schema for found in untyped(one, at)]
    if not isinstance(schema, dict):
        return []
    here = (
        [at] if schema.get("type") == "object" and "properties" not in schema and schema.get("additionalProperties", True) is True else []
    )
    fields = [
        found
        for name, one in schema.get("properties", {}).items()
        for found in ([f"{at}.{name}"] if not one.keys() - {"title", "default"} else untyped(one, f"{at}.{name}"))
    ]
    return (
        here
        + fields
        + [found for key, one in schema.items() if key not in ("properties", "default", "discriminator") for found in untyped(one, at)]
    )


@pytest.mark.parametrize("verb", declared().values(), ids=lambda verb: verb.name)
def test_all_that_crosses_the_socket_has_a_type(verb: AnyVerb) -> None:
    found = untyped(verb.arguments.model_json_schema()) + untyped(TypeAdapter(verb.result).json_schema())
    assert [one for one in found if not one.endswith(".result")] == []  # of an operation, which its verb declares


def shown(kind: Any) -> str:
    """A type as the table has it."""
    text = "nothing" if kind in (Nothing, type(None)) else getattr(kind, "__name__", "") if not hasattr(kind, "__args__") else str(kind)
    return re.sub(r"[a-z_]+\.(?:[a-z_]+\.)*(?=[A-Z])", "", text)


def table() -> str:
    rows = ["| verb | arguments | result | |", "| --- | --- | --- | --- |"]
    for verb in declared().values():
        about = ", ".join(word for word, is_so in (("an operation", isinstance(verb, LongVerb)), ("root alone", verb.root)) if is_so)
        rows.append(f"| `{verb.name}` | {shown(verb.arguments)} | {shown(verb.result)} | {about} |")
    return "\n".join(rows) + "\n"


def test_the_table_of_verbs_is_that_of_the_code(request: pytest.FixtureRequest) -> None:
    head, _, _ = README.read_text().partition("| verb |")
    if request.config.getoption("--regenerate"):
        README.write_text(head + table())
    assert README.read_text() == head + table()


SNIPPET = """
from appliance.host.rpc.client import Client
from appliance.host.interface import system, updates
from appliance.host.rpc.registry import Host, implements
from appliance.host.rpc.verb import Nothing

def use(client: Client) -> None:
    client.call(updates.INSTALL, updates.Install(version="1"))
    client.begin(updates.INSTALL, updates.Install(verison="1"))
    client.begin(updates.INSTALL, updates.At(at=None))
    client.call(system.RESTART_UNIT)
    client.call(system.CLOCK).server_name
    said: int = client.call(system.IMAGE)

@implements(system.CLOCK)
def do(args: Nothing, host: Host) -> system.Facts:
    raise NotImplementedError
"""


def test_a_wrong_field_is_found_before_anything_runs(tmp_path: Path) -> None:
    """By mypy, where the verb is used and where it is done."""
    file = tmp_path / "use.py"
    file.write_text(SNIPPET)
    said, trouble, _ = api.run(
        ["--config-file", str(REPOSITORY / "pyproject.toml"), "--cache-dir", str(REPOSITORY / ".mypy_cache"), str(file)]
    )
    assert trouble == ""
    found = {int(line): text for line, text in re.findall(r"use\.py:(\d+): error: (.*)", said)}
    wrong = {8: "call", 9: "verison", 10: "infer", 11: "call", 12: "server_name", 13: "MaybeImage", 15: "Facts"}
    assert found.keys() == wrong.keys(), said
    for line, words in wrong.items():
        assert re.search(words, found[line]), found[line]


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    found = load({}, state=tmp_path / "s")
    layout.prepare(found)
    return found


@contextmanager
def peer(settings: Settings, answer: dict[str, Any]) -> Iterator[None]:
    """A dpe-host of another version, which says this once."""
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(settings.host_socket))
        listening.listen()

        def serve() -> None:
            line, _ = listening.accept()
            with line, line.makefile("rwb") as both:
                both.readline()
                both.write(json.dumps(answer).encode() + b"\n")

        thread = threading.Thread(target=serve)
        thread.start()
        yield
        thread.join(10)


@pytest.mark.parametrize("result", [{"version": 1}, None, [], {"image": {"version": "1"}}])
def test_a_peer_that_answers_otherwise_is_of_another_version(settings: Settings, result: Any) -> None:
    with peer(settings, {"result": result}), pytest.raises(Unavailable, match="different versions, as for a moment during an update"):
        Client(settings).call(updates.STATUS) if isinstance(result, dict) and "image" in result else Client(settings).call(system.CLOCK)


@pytest.mark.parametrize("result", [None, "1", {"operation": 1}])
def test_a_peer_that_begins_no_task_is_of_another_version(settings: Settings, result: Any) -> None:
    with peer(settings, {"result": result}), pytest.raises(Unavailable, match="different versions, as for a moment during an update"):
        Client(settings).begin(updates.FETCH)


def test_what_a_newer_peer_adds_is_left_out(settings: Settings) -> None:
    facts = {"title": "Hillside School", "weather": "fine"}
    with peer(settings, {"result": facts, "also": 1}):
        assert Client(settings).call(system.FACTS).title == "Hillside School"


def test_arguments_are_checked_before_they_are_sent(settings: Settings) -> None:
    with pytest.raises(BadInput, match="most"):
        system.Lines(source="web", most=0)
    with pytest.raises(BadInput, match="address is missing"):
        network.Set.model_validate({"network": {"mode": "static", "card": "eth0"}})


def test_a_time_arrives_as_one() -> None:
    at = updates.At(at=datetime(2027, 3, 1, 14, 30, tzinfo=ZoneInfo("Europe/Vienna")))
    assert updates.BACK.read(at.model_dump(mode="json")) == at
    assert system.SET_CLOCK.read(at.model_dump(mode="json")).at == at.at
    with pytest.raises(BadInput, match="timezone"):
        updates.BACK.read({"at": "2027-03-01T14:30:00"})


def test_no_secret_is_in_what_is_said_of_a_wrong_one() -> None:
    with pytest.raises(ValueError, match="valid string") as wrong:
        system.RESET_PASSWORD.pack({"name": "grace", "password": ["hidden words"]})  # type: ignore[arg-type]
    with pytest.raises(BadInput) as refused:
        access.SET_CERTIFICATE.read({"files": ["hidden words"], "passphrase": ["hidden words"], "host": ""})
    with pytest.raises(ValueError, match="Answer") as cut_off:
        Answer.model_validate_json(b'{"result": "hidden words')
    assert "hidden" not in f"{wrong.value} {refused.value} {cut_off.value}"


def test_an_error_says_what_it_is_about_on_the_other_side_too() -> None:
    answer = Answer.model_validate_json(Answer.of(BadInput("It is taken.", "Choose another.", field="address")).line())
    with pytest.raises(BadInput) as told:
        answer.check()
    assert (told.value.message, told.value.hint, told.value.field) == ("It is taken.", "Choose another.", "address")
    with pytest.raises(BadInput) as told:
        network.SET.read({"network": {"mode": "both"}, "seconds": 90})
    assert told.value.field == "mode"
    with pytest.raises(BadInput) as told:
        network.SET_NAME.read({"name": 7})
    assert told.value.field == "name"


def test_a_result_is_checked_before_it_is_sent() -> None:
    with pytest.raises(ValueError, match="valid string"):
        Verb("x", Nothing, str).pack(7)  # type: ignore[arg-type]
