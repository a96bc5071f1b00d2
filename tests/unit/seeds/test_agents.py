"""What a sandbox may ask of the machines' agents: of those that it is for, and of no other."""

import base64
import json
import socket
from pathlib import Path
from typing import Any

import pytest

from appliance.errors import Unavailable
from appliance.seeds import agents
from tests.unit.engine.fake import FakeProvider

pytestmark = pytest.mark.hostilebuild


def asked(id: str, **others: Any) -> dict[str, Any]:
    return {"id": id, "command": ["cat"], "input": base64.b64encode(b"hello").decode(), "timeout": 9e9, **others}


def test_machines_of_its_own_and_no_other(tmp_path: Path) -> None:
    provider = FakeProvider()
    calls: list[Any] = []
    provider.execute = lambda *given, **how: calls.append((given, how)) or fails()  # type: ignore[method-assign,assignment]

    def fails() -> None:
        raise Unavailable("Its agent is not there.", "Is it up?")

    with agents.reaching(provider, ["mine"], tmp_path, within=5), socket.socket(socket.AF_UNIX) as one:
        one.connect(str(tmp_path / "tmp/agents"))
        answers = one.makefile("rb")

        def answer(line: str) -> str:
            one.sendall(line.encode() + b"\n")
            return str(json.loads(answers.readline())["problem"])

        assert answer(json.dumps(asked("mine"))) == "Its agent is not there. Is it up?"
        assert calls == [(("mine", ["cat"]), {"input": b"hello", "timeout": 5})]
        assert answer(json.dumps(asked("theirs"))) == "That machine is another's."
        for wrong in ("", "[]", "{}", "[" * 5000, json.dumps(asked("mine", timeout="soon")), json.dumps(asked("mine", input="!"))):
            assert answer(wrong).startswith("That is not how it is asked")
        assert len(calls) == 1
        answers.close()
    assert not _answers(tmp_path / "tmp/agents")


def _answers(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as one:
        return one.connect_ex(str(path)) == 0
