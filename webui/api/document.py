"""The OpenAPI document, made of the routes and what they declare; apispec keeps it in shape. Nothing in it is written twice."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from apispec import APISpec
from flask import Flask
from pydantic import TypeAdapter
from werkzeug.http import HTTP_STATUS_CODES
from werkzeug.routing import IntegerConverter, Rule

from appliance import __version__
from webui.api.operation import JSON, LARGEST_PAGE, PAGE, Operation, sorts_of
from webui.api.schemas import EventMessage, Problem

REFERENCE = "#/components/schemas/{model}"
DEPRECATED = {"/api/v1/kept-disks": "retained-disks", "/api/v1/kept-disks/<id>/bring-back": "retained-disks/<id>/restore"}
ABOUT = """Everything that the pages can do, for programs. Errors are problem details (RFC 9457), with an entry in `errors` for each wrong field.

**Deprecation.** Within v1 nothing is taken away: fields, parameters and calls are added, so leave out what you do not know. What is deprecated is marked so here, says what
to use in its place, and goes at the earliest with v2, which is served beside v1 for a year."""

# What may be said besides to any call, and to one that writes.
ERRORS = (400, 401, 403, 404, 409, 429, 503)
WRITING = (413,)


def operations(app: Flask) -> Iterator[tuple[Rule, str, Any, Operation]]:
    """Every call: its address, its method, its view, and what it declares."""
    for rule in app.url_map.iter_rules():
        if rule.endpoint.startswith("api."):
            view: Any = app.view_functions[rule.endpoint]
            for method in sorted((rule.methods or set()) & {"GET", "POST", "PUT", "DELETE"}):
                yield rule, method, view, view.operation


def path_of(rule: Rule) -> str:
    """The rule as OpenAPI writes it: {id} for <int:id>."""
    return re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", rule.rule)


def document(app: Flask) -> dict[str, Any]:
    """The document of all calls."""
    spec = APISpec("DPE Appliance", "1." + __version__, "3.1.0", info={"description": ABOUT})
    spec.components.security_scheme(
        "token", {"type": "http", "scheme": "bearer", "description": "People make tokens on their account's page."}
    )
    schemas = _Schemas()
    problem = {"application/problem+json": {"schema": schemas.of(Problem)}}
    for rule, method, view, said in operations(app):
        spec.path(path_of(rule), operations={method.lower(): _operation(rule, method, view, said, schemas, problem)})
    sent = _sent_to_receivers(schemas)
    for name, schema in sorted(schemas.found.items()):
        spec.components.schema(name, schema)
    made: dict[str, Any] = spec.to_dict()
    _link(made)
    return made | {"webhooks": {"event": {"post": sent}}}


def _link(made: dict[str, Any]) -> None:
    """Say which calls go on with what a call answers: with the first of a list, or with what was created, to all whose addresses go on from its own."""
    schemas = made["components"]["schemas"]
    for path, methods in made["paths"].items():
        for method, source in methods.items():
            status = min(source["responses"])
            schema = source["responses"][status].get("content", {}).get(JSON, {}).get("schema", {})
            fields = _named(_resolved(schema, schemas), schemas) if (method, status) in (("get", "200"), ("post", "201")) else {}
            for further in made["paths"] if fields else ():
                found = re.fullmatch(re.escape(path) + r"/\{((?:\w+_)?(\w+))\}(/[a-z-]+)*", further)
                if found and (at := fields.get(found[2])):
                    above = {name: f"$request.path.{name}" for name in re.findall(r"\{(\w+)\}", path)}
                    for target in made["paths"][further].values():
                        said = {"operationId": target["operationId"], "parameters": {**above, found[1]: f"$response.body#/{at}"}}
                        source["responses"][status].setdefault("links", {})[target["operationId"]] = said


def _named(schema: Mapping[str, Any], schemas: Mapping[str, Any]) -> dict[str, str]:
    """The fields of what was created, or of the first of a list, each with where in the answer it is."""
    fields = schema.get("properties", {})
    lists = {name: _resolved(one["items"], schemas).get("properties", {}) for name, one in fields.items() if one.get("type") == "array"}
    return {**{name: name for name in fields}, **{inner: f"{name}/0/{inner}" for name, one in lists.items() for inner in one}}


def _resolved(schema: Mapping[str, Any], schemas: Mapping[str, Any]) -> Mapping[str, Any]:
    """The schema itself, where it is by reference; the first of several."""
    schema = next(iter(schema.get("anyOf", ())), schema)
    found: Mapping[str, Any] = schemas[schema["$ref"].rpartition("/")[2]] if "$ref" in schema else schema
    return found


# The headers of what webhooks send, as standardwebhooks.com has them.
SENT = {
    "webhook-id": "The same at each try for the same event.",
    "webhook-timestamp": "Seconds since 1970, of this try.",
    "webhook-signature": "HMAC-SHA256 of id, timestamp and body, joined by full stops, in Base64, after “v1,”; several while a secret is replaced.",
}


def _sent_to_receivers(schemas: "_Schemas") -> dict[str, Any]:
    """What a webhook's receiver is sent of an event, as a call that it answers."""
    return {
        "summary": "An event, sent to the receiver of a webhook",
        "parameters": [
            {"name": name, "in": "header", "required": True, "description": about, "schema": {"type": "string"}}
            for name, about in SENT.items()
        ],
        "requestBody": {"required": True, "content": {"application/json": {"schema": schemas.of(EventMessage)}}},
        "responses": {
            "2XX": {"description": "It is taken; nobody reads the body."},
            "410": {"description": "No more, please: the webhook is disabled."},
            "default": {"description": "It is sent again, later and later, for three days."},
        },
    }


class _Schemas:
    """The JSON schemas of types, each once, under its name."""

    def __init__(self) -> None:
        self.found: dict[str, Any] = {}

    def of(self, type_: Any, mode: Any = "serialization") -> dict[str, Any]:
        """The schema of a type, by reference where it has a name."""
        schema = TypeAdapter(type_).json_schema(ref_template=REFERENCE, mode=mode)
        self.found |= schema.pop("$defs", {})
        name = getattr(type_, "__name__", "") if schema.get("type") == "object" else ""
        if not name or not schema.get("properties"):
            return schema
        self.found[name] = schema
        return {"$ref": REFERENCE.format(model=name)}


def _operation(rule: Rule, method: str, view: Any, said: Operation, schemas: _Schemas, problem: Mapping[str, Any]) -> dict[str, Any]:
    summary, _, about = view.__doc__.strip().partition("\n")
    deprecated = DEPRECATED.get(rule.rule)
    found: dict[str, Any] = {
        "operationId": view.__name__ + ("_deprecated" if deprecated else ""),
        "tags": [path_of(rule).removeprefix("/api/v1/admin/").removeprefix("/api/v1/").split("/")[0]],
        "summary": summary.rstrip("."),
        "security": [{"token": [said.scope]}],
        "parameters": [*_in_path(rule, said), *_in_query(said, schemas), *_in_head(method, said)],
        "responses": _responses(method, said, schemas, problem),
    }
    if text := " ".join(about.split()):
        found["description"] = text
    if deprecated:
        found |= {"deprecated": True, "description": f"Use {deprecated}."}
    if said.takes is not None or said.sends != JSON:
        content: dict[str, Any] = {"schema": schemas.of(said.takes or bytes, "validation")}
        if said.example is not None:
            content["example"] = dict(said.example)
        found["requestBody"] = {"required": True, "content": {said.sends: content}}
    return found


def _in_path(rule: Rule, said: Operation) -> Iterator[dict[str, Any]]:
    for name in sorted(rule.arguments, key=rule.rule.index):
        schema: dict[str, Any] = {"type": "string", "minLength": 1, "pattern": "^[^/]+$"}
        if isinstance(rule._converters[name], IntegerConverter):
            schema = {"type": "integer", "minimum": 0, "maximum": 10**18 - 1}
        elif name == "verb":
            schema = {"type": "string", "enum": list(said.verbs)}
        yield {"name": name, "in": "path", "required": True, "schema": schema}


def _in_query(said: Operation, schemas: _Schemas) -> Iterator[dict[str, Any]]:
    for name, type_ in (said.query or {}).items():
        yield {"name": name, "in": "query", "schema": schemas.of(type_, "validation")}
    if (kind := said.listing) is None:
        return
    for one in kind.filters:
        schema: dict[str, Any] = {"enum": ["yes"]} if one.kind == "check" else {"type": "string", "maxLength": 100}
        yield {"name": one.name, "in": "query", "description": one.title, "schema": schema}
    sort = {"type": "string", "enum": sorts_of(kind), "default": kind.order}
    yield {"name": "sort", "in": "query", "description": "By what it is sorted; a minus is descending.", "schema": sort}
    yield {"name": "after", "in": "query", "description": "What the page before has as `next`.", "schema": {"type": "string"}}
    size = {"type": "integer", "minimum": 1, "maximum": LARGEST_PAGE, "default": PAGE}
    yield {"name": "limit", "in": "query", "description": "How many at most.", "schema": size}


def _in_head(method: str, said: Operation) -> Iterator[dict[str, Any]]:
    if said.creates:
        about = "The same key again, within a day, is answered the same, and nothing is made twice. A random UUID will do."
        schema = {"type": "string", "pattern": "^[!-~]{1,200}$"}
        yield {"name": "Idempotency-Key", "in": "header", "description": about, "schema": schema}
    if said.guarded_by:
        about = "The ETag of what was read: 412 when it has changed since."
        yield {"name": "If-Match", "in": "header", "description": about, "schema": {"type": "string"}}


def _responses(method: str, said: Operation, schemas: _Schemas, problem: Mapping[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for status, type_ in said.answers.items():
        found[str(status)] = {"description": HTTP_STATUS_CODES[status]}
        if type_ is not None:
            found[str(status)]["content"] = {said.media: {"schema": schemas.of(type_)}}
    for name, parameters in (said.links or {}).items():
        first = found[str(min(said.answers))]
        first.setdefault("links", {})[name] = {"operationId": name, "parameters": dict(parameters)}
    if method == "GET" and said.media == JSON:
        found["304"] = {"description": "As the ETag in If-None-Match says: nothing changed."}
    others = [*ERRORS, *(WRITING if method != "GET" else ()), *((422,) if said.creates else ()), *((412,) if said.guarded_by else ())]
    return found | {str(status): {"description": HTTP_STATUS_CODES[status], "content": problem} for status in sorted(others)}
