"""`python -m appliance.scenario.document`: writes what an admin can change of a class into playbooks/scenarios/README.md, and what an
application can say of itself into playbooks/applications/README.md."""

from collections.abc import Iterator

from appliance.scenario import policy
from appliance.scenario.applications import Manifest, Option
from appliance.scenario.calendar import OneOff, Window
from appliance.scenario.policy import PolicyField
from appliance.scenario.rule import Rule
from appliance.settings import REPOSITORY

FILE = REPOSITORY / "playbooks/scenarios/README.md"
APPLICATIONS = REPOSITORY / "playbooks/applications/README.md"
BEGIN, END = "<!-- from the model: python -m appliance.scenario.document -->\n", "<!-- until here -->\n"


def document() -> str:
    """The table, Markdown."""
    return "\n".join(_lines()) + "\n"


def _lines() -> Iterator[str]:
    yield "| key | default | may be | what |"
    yield "| --- | --- | --- | --- |"
    for field in policy.fields().values():
        default = {"switch": "`on`" if field.default else "`off`"}.get(field.widget, f"`{field.default}`" if field.default != "" else "")
        yield f"| `{'.'.join(field.path)}` | {default} | {_range(field)} | {field.help} |"
    for name, model in (("a window", Window), ("a one-off", OneOff), ("a rule", Rule)):
        yield ""
        yield f"| key of {name} | what |"
        yield "| --- | --- |"
        for key, info in model.model_fields.items():
            yield f"| `{key}` | {info.description} |"


def _range(field: PolicyField) -> str:
    if field.editable.choices:
        return ", ".join(f"`{choice}`" for choice in field.editable.choices)
    return {"switch": "`on`, `off`", "number": f"{field.low} to {field.high} {field.editable.unit}", "list": "a list"}.get(
        field.widget, "a name"
    )


def of_applications() -> str:
    """The tables of what an application.yml may say, Markdown."""
    found = list[str]()
    for name, model in (("application.yml", Manifest), ("an option", Option)):
        found += ["", f"| key of {name} | what |", "| --- | --- |"]
        found += [
            f"| `{key}`{'' if info.is_required() else ' (optional)'} | {info.description} |" for key, info in model.model_fields.items()
        ]
    return "\n".join(found[1:]) + "\n"


def updated(text: str, made: str) -> str:
    """A README with what is between its marks made anew."""
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    return before + BEGIN + made + END + after


if __name__ == "__main__":
    FILE.write_text(updated(FILE.read_text(), document()))
    APPLICATIONS.write_text(updated(APPLICATIONS.read_text(), of_applications()))
