"""The API's own description: the OpenAPI document, and the pages that show it without anything from elsewhere."""

import json
import re
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from flask import Blueprint, abort, current_app, render_template, request

from appliance.language import Written
from webui.api.document import ERRORS, document
from webui.api.operation import blueprint, operation
from webui.guard import needs

SENTENCES = ("summary", "description")

pages = Blueprint("api_docs", __name__, url_prefix="/docs")


@blueprint.get("/openapi.json")
@needs("own")
@operation("read", {200: dict[str, Any]})
def openapi() -> dict[str, Any]:
    """This document."""
    return _document()


def _document() -> dict[str, Any]:
    """The document, made once: what it says changes only with the program."""
    app: Any = current_app
    found: dict[str, Any] = app.extensions.get("openapi") or app.extensions.setdefault("openapi", _as_it_is(document(app)))
    return found


def _as_it_is(said: Any) -> Any:
    """A part of the document whose sentences stay English, as programs read them, in whatever language the page is."""
    if isinstance(said, dict):
        return {name: Written(one) if name in SENTENCES and isinstance(one, str) else _as_it_is(one) for name, one in said.items()}
    return [_as_it_is(one) for one in said] if isinstance(said, list) else said


@dataclass(frozen=True)
class Call:
    """A call as the page shows it."""

    method: str
    path: str
    said: Mapping[str, Any]
    example: str

    @property
    def id(self) -> str:
        return str(self.said["operationId"])

    @property
    def scope(self) -> str:
        return str(self.said["security"][0]["token"][0])

    @property
    def body(self) -> str:
        """The name of the schema of what it takes, or of what kind the bytes are."""
        content = self.said["requestBody"]["content"] if "requestBody" in self.said else {}
        return next((_name(one["schema"]) or media for media, one in content.items()), "")

    @property
    def answers(self) -> list[tuple[str, str, str]]:
        """The statuses that are no error: status, words, and the name of the schema."""
        return [
            (status, one["description"], ", ".join(_name(media["schema"]) for media in one.get("content", {}).values()))
            for status, one in self.said["responses"].items()
            if status < "300"
        ]

    @property
    def errors(self) -> str:
        """The errors besides those of any call."""
        return ", ".join(status for status in self.said["responses"] if status >= "400" and int(status) not in ERRORS)


def _name(schema: Mapping[str, Any]) -> str:
    """What a schema is called; the names of those that it is one of."""
    if "$ref" in schema:
        return str(schema["$ref"].rpartition("/")[2])
    return " or ".join(_name(one) for one in schema.get("anyOf", ()))


def calls(found: Mapping[str, Any], root: str) -> Iterator[tuple[str, list[Call]]]:
    """The calls by what they are about; `root` is the address of the appliance, for the examples."""
    areas: dict[str, list[Call]] = {}
    for path, methods in found["paths"].items():
        for method, said in methods.items():
            if not said.get("deprecated"):
                areas.setdefault(said["tags"][0], []).append(Call(method.upper(), path, said, example(method, path, said, root)))
    return iter(sorted(areas.items()))


def example(method: str, path: str, said: Mapping[str, Any], root: str) -> str:
    """How a shell asks: what curl is called with, with $TOKEN from the environment. What is in capitals is the caller's to fill in."""
    words = ["-X", method.upper()] if method != "get" else []
    if body := said.get("requestBody"):
        [(media, content)] = body["content"].items()
        sent = ["-d", json.dumps(content.get("example", {}))] if media == "application/json" else ["--data-binary", "@FILE"]
        words += ["-H", f"Content-Type: {media}", *sent]
    address = root + re.sub(r"\{(\w+)\}", lambda found: found[1].upper(), path.lstrip("/"))
    return " ".join([*map(shlex.quote, words), '-H "Authorization: Bearer $TOKEN"', shlex.quote(address)])


def properties(schema: Mapping[str, Any]) -> list[tuple[str, str, str, bool]]:
    """The fields of a schema: name, type in words, description, whether it has to be there."""
    must = schema.get("required", ())
    return [(name, _type(one), one.get("description", ""), name in must) for name, one in schema.get("properties", {}).items()]


def _type(schema: Mapping[str, Any]) -> str:
    if "enum" in schema:
        return ", ".join(map(str, schema["enum"]))
    if "anyOf" in schema:
        return " or ".join(_type(one) for one in schema["anyOf"])
    if schema.get("type") == "array":
        return f"list of {_type(schema.get('items', {}))}"
    return _name(schema) or str(schema.get("const", schema.get("type", "anything")))


@pages.get("/api")
@needs("own")
def page() -> str:
    """What all calls have alike, and what there are calls for."""
    areas = [(area, len(found)) for area, found in calls(_document(), "")]
    return render_template("api_docs.html", areas=areas, root=_root())


@pages.get("/api/<area>")
@needs("own")
def area_page(area: str) -> str:
    """The calls of an area, and the schemas that they name."""
    found = _document()
    some = dict(calls(found, _root())).get(area)
    if some is None:
        abort(404)
    schemas = found["components"]["schemas"]
    named = sorted(_reached([call.said for call in some], schemas))
    return render_template(
        "api_docs_area.html", area=area, calls=some, schemas={name: schemas[name] for name in named}, properties=properties
    )


def _root() -> str:
    return request.host_url.replace("http:", "https:")


def _reached(said: Any, schemas: Mapping[str, Any]) -> set[str]:
    """The names of the schemas that something refers to, those that they refer to among them."""
    reached: set[str] = set()
    waiting = [said]
    while waiting:
        new = set(re.findall(r"#/components/schemas/(\w+)", json.dumps(waiting.pop()))) - reached
        reached |= new
        waiting += [schemas[name] for name in new]
    return reached
