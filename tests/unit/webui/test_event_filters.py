"""The filter of the record: each choice finds something that the product records, and whatever it records can be chosen."""

import ast
import re
from collections.abc import Iterator

import pytest

from appliance import catalog
from appliance.catalog import events, record
from appliance.settings import REPOSITORY, Settings
from webui.admin.events import KINDS

pytestmark = pytest.mark.cases
KIND = re.compile(r"([a-z]+)[a-z_]*\.[a-z_]*")
RECORDING = {"record", "_record", "tell", "_tell"}


def _words(node: ast.AST) -> Iterator[str]:
    """What an argument says, or how it begins."""
    for part in ast.walk(node):
        if isinstance(part, ast.Constant) and isinstance(part.value, str):
            yield part.value


def areas(*, of_any_call: bool) -> set[str]:
    """The first words of kinds of events, as they stand in the calls that record one; or in any call, as some are handed on."""
    found = set()
    for file in (file for folder in ("appliance", "webui") for file in (REPOSITORY / folder).rglob("*.py")):
        for call in (node for node in ast.walk(ast.parse(file.read_text())) if isinstance(node, ast.Call)):
            name = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
            if of_any_call or name in RECORDING:
                found |= {word[1] for part in call.args[:2] for text in _words(part) if (word := KIND.fullmatch(text))}
    return found


def test_every_choice_has_something_to_find() -> None:
    assert set(KINDS) - areas(of_any_call=True) == set()


def test_whatever_is_recorded_can_be_chosen() -> None:
    recorded = areas(of_any_call=False)
    assert {"machine", "data", "kept", "sign", "certificate"} <= recorded
    assert recorded - set(KINDS) == set()


@pytest.mark.parametrize("kind", ["data_disk.made", "kept_disk.removed", "sign_in.failed", "machine.in_use"])
def test_a_choice_finds_what_belongs_to_it(kind: str, opened: Settings) -> None:
    with catalog.write():
        record(kind, "Something happened.")
    area = re.split(r"[._]", kind)[0]
    assert area in KINDS
    assert [event.kind for event in events.page(kind=area)] == [kind]
    assert events.page(kind="quota") == []
