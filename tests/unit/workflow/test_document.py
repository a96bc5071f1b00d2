"""What the README says of activities is what their schemas say."""

import re

import pytest

from appliance.workflow import document, kinds, load
from appliance.workflow.kinds import Kind

pytestmark = pytest.mark.workflow

TEXT = document.FILE.read_text()


def test_the_readme_is_what_the_schemas_make() -> None:
    assert document.updated(TEXT) == TEXT, "make it anew: python -m appliance.workflow.document"


@pytest.mark.parametrize("kind", [kind for kind in kinds.known().values() if not kind.core], ids=lambda kind: kind.name)
def test_every_kind_and_every_option_is_described(kind: Kind) -> None:
    part = TEXT[TEXT.index(f"### `{kind.name}`") :].split("\n### ")[0]
    assert kind.about in part
    for name, field in kind.options.model_fields.items():
        assert field.description, f"{kind.name}.{name} says nothing of itself"
        assert re.search(rf"^\| `{name}` \| {'needed' if field.is_required() else ''}.*{re.escape(field.description)}", part, re.MULTILINE)


def test_every_example_loads() -> None:
    examples = re.findall(r"```yaml\n(.*?)```", TEXT, re.DOTALL)
    assert examples
    for example in examples:
        load.load(document.FILE, example.encode())
