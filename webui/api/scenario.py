"""The scenario over the API: its text, versions, export and import as zips, and a newer one brought together with it."""

from typing import Literal

from flask import Response, request, url_for
from pydantic import Field

from appliance.catalog import ScenarioState, ScenarioVersion
from appliance.catalog import scenarios as rows
from appliance.errors import DpeError
from appliance.scenario.merge import Side
from appliance.scenario.tree import PACKED
from appliance.services import scenarios
from appliance.services.scenarios import Change
from webui import forms
from webui.api import schemas
from webui.api.admin import CHANGED, Answer, _changed
from webui.api.mine import _time
from webui.api.operation import Body, blueprint, operation
from webui.guard import actor, needs
from webui.upload import takes_file_of

SCOPE = "admin:scenario"
ZIP = "application/zip"
EXAMPLE = """name: shop
title: Shop
classes:
  notebook: {title: Notebook, os: debian-13, application: {port: 8888}, size: {memory: 512, disk: 4}}
"""
SEEN = Field(None, ge=1, le=2**31, strict=True, description="The version that it was compared with: 409 when another counts by now.")


class Taking(Body):
    """How another version comes to count: with a word about it, and with the seeds built that are other ones."""

    comment: str = Field("", max_length=200)
    build: bool = Field(False, strict=True)


class ScenarioText(Taking):
    """scenario.yml; the roles stay as they are."""

    text: str


class TextOnly(Body):
    text: str


class Back(Taking):
    seen: int | None = SEEN


class TakeWaiting(Back):
    """Which of those that wait, by its digest."""

    digest: str = Field(min_length=1, max_length=100)


class Choices(Body):
    """By the place of each conflict, whose side counts."""

    choices: dict[str, Side] = Field({}, max_length=2000)


class TakeMerged(TakeWaiting, Choices):
    """`outcome` is the digest of what comes of the choices, as it was looked at."""

    outcome: str = Field(min_length=1, max_length=100)


class Left(Body):
    digest: str = Field(min_length=1, max_length=100)
    comment: str = Field("", max_length=200)
    seen: int | None = SEEN


def _version(one: ScenarioVersion) -> schemas.ScenarioVersion:
    return {
        "number": one.number,
        "state": one.state.value,
        "digest": one.digest,
        "author": one.author,
        "comment": one.comment,
        "changes": one.changes,
        "created_at": _time(one.created_at),
    }


def _change(found: Change) -> schemas.ScenarioChange:
    return {
        "classes": [{"name": one.name, "effect": one.effect, "keys": list(one.keys)} for one in found.classes],
        "files": [{"path": one.path, "what": one.what} for one in found.files],
    }


def _waits(state: ScenarioState) -> str | None:
    found = rows.in_state(state)
    return found.digest if found else None


def _seen(said: int | None) -> int:
    found: int = scenarios.current().number if said is None else said
    return found


def _made(version: ScenarioVersion) -> Answer:
    return _version(version), 201, {"Location": url_for("api.scenario_version", number=version.number)}


@blueprint.get("/admin/scenario")
@needs("scenario.manage")
@operation(SCOPE, {200: schemas.Scenario})
def scenario() -> Answer:
    """The version that counts, and its scenario.yml."""
    found = scenarios.current()
    return {
        **_version(found),
        "text": scenarios.text(found),
        "offered": _waits(ScenarioState.OFFERED),
        "imported": _waits(ScenarioState.IMPORTED),
    }


@blueprint.put("/admin/scenario")
@needs("scenario.manage")
@operation(
    SCOPE, CHANGED, takes=ScenarioText, guarded_by="api.scenario", confirms=True,
    example={"text": EXAMPLE, "comment": "For the spring term"},
)  # fmt: skip
def put_scenario() -> Answer:
    """Have scenario.yml be so, as a new version unless it is so already. What is wrong with it is in errors, with its lines."""
    asked, current = forms.read(ScenarioText), scenarios.current()
    if scenarios.as_text(asked.text) == scenarios.text(current).encode():
        return _changed()
    scenarios.save_text(actor(), asked.text, seen=current.number, comment=asked.comment, build=asked.build)
    return _changed(["text"])


@blueprint.post("/admin/scenario/review")
@needs("scenario.manage")
@operation(SCOPE, {200: schemas.ScenarioChange}, takes=TextOnly, example={"text": EXAMPLE})
def review_scenario() -> Answer:
    """What another scenario.yml would change; nothing is saved."""
    return _change(scenarios.with_text(forms.read(TextOnly).text)[0])


@blueprint.get("/admin/scenario/export")
@needs("scenario.manage")
@operation(SCOPE, {200: bytes}, media=ZIP)
def export_scenario() -> Response:
    """All of it as a zip, the same for the same files."""
    return _zip(scenarios.current())


def _zip(version: ScenarioVersion) -> Response:
    name, content = scenarios.export(version)
    return Response(content, mimetype=ZIP, headers={"Content-Disposition": f'attachment; filename="{name}"'})


# -- versions ----------------------------------------------------------------------------------------------


@blueprint.get("/admin/scenario/versions")
@needs("scenario.manage")
@operation(SCOPE, {200: schemas.ScenarioVersions})
def scenario_versions() -> Answer:
    """All versions that are kept, the newest first."""
    return {"items": [_version(one) for one in rows.versions()]}


@blueprint.get("/admin/scenario/versions/<int:number>")
@needs("scenario.manage")
@operation(SCOPE, {200: schemas.ScenarioDetail})
def scenario_version(number: int) -> Answer:
    """One of them, and what going back to it would change."""
    shown, current = scenarios.version(number), scenarios.current()
    before = scenarios.before(shown)
    return {
        **_version(shown),
        "made": _change(scenarios.compare(before.tree, shown.tree)) if before else None,
        "back": _change(scenarios.compare(current.tree, shown.tree)) if shown.id != current.id else None,
    }


@blueprint.get("/admin/scenario/versions/<int:number>/export")
@needs("scenario.manage")
@operation(SCOPE, {200: bytes}, media=ZIP)
def export_scenario_version(number: int) -> Response:
    """One of them as a zip."""
    return _zip(scenarios.version(number))


@blueprint.post("/admin/scenario/versions/<int:number>/restore")
@needs("scenario.manage")
@operation(SCOPE, {201: schemas.ScenarioVersion}, takes=Back, creates=True, confirms=True, example={"comment": "The old one was better"})
def restore_scenario(number: int) -> Answer:
    """Have an earlier version count again, as a new one; 409 for the one that counts."""
    asked = forms.read(Back)
    return _made(scenarios.go_back(actor(), number, seen=_seen(asked.seen), comment=asked.comment, build=asked.build))


# -- import --------------------------------------------------------------------------------------------------


def _imported() -> Answer:
    found, current = scenarios.waiting(ScenarioState.IMPORTED), scenarios.current()
    return {**_change(scenarios.compare(current.tree, found.tree)), "digest": found.digest, "seen": current.number}


@blueprint.get("/admin/scenario/import")
@needs("scenario.manage")
@operation(SCOPE, {200: schemas.ImportedScenario})
def imported_scenario() -> Answer:
    """What was sent and waits, and what it would change."""
    return _imported()


@blueprint.put("/admin/scenario/import")
@needs("scenario.manage")
@takes_file_of(PACKED)
@operation(SCOPE, {200: schemas.ImportedScenario}, sends=ZIP)
def import_scenario() -> Answer:
    """Send a zip, as export gives it. It is checked and waits, in the place of one that was sent before, until it is taken or discarded."""
    scenarios.import_zip(actor(), request.get_data())
    return _imported()


@blueprint.delete("/admin/scenario/import")
@needs("scenario.manage")
@operation(SCOPE, {204: None})
def discard_scenario() -> Answer:
    """Discard what was sent."""
    scenarios.discard_import(actor())
    return {}, 204


@blueprint.post("/admin/scenario/import/take")
@needs("scenario.manage")
@operation(SCOPE, {201: schemas.ScenarioVersion}, takes=TakeWaiting, creates=True, confirms=True, example={"digest": "DIGEST"})
def take_imported_scenario() -> Answer:
    """Have what was sent count from now on."""
    asked = forms.read(TakeWaiting)
    return _made(scenarios.take_import(actor(), digest=asked.digest, seen=_seen(asked.seen), comment=asked.comment, build=asked.build))


# -- a newer one ---------------------------------------------------------------------------------------------


def _offer(choices: dict[str, Literal["ours", "theirs"]]) -> Answer:
    found, current = scenarios.waiting(ScenarioState.OFFERED), scenarios.current()
    both, change, problems = scenarios.merged(choices), None, list[str]()
    try:
        change = _change(scenarios.outcome(current, both))
    except DpeError as error:
        problems = [f"{file}:{line}: {message}" for file, line, message, _ in scenarios.errors_of(error)] or [str(error)]
    return {
        "digest": found.digest,
        "seen": current.number,
        "conflicts": [
            {"place": one.place, "base": one.base, "ours": one.ours, "theirs": one.theirs, "chosen": one.chosen} for one in both.conflicts
        ],
        "outcome": scenarios.outcome_digest(both),
        "change": change,
        "problems": problems,
    }


@blueprint.get("/admin/scenario/offer")
@needs("scenario.manage")
@operation(SCOPE, {200: schemas.OfferedScenario})
def offered_scenario() -> Answer:
    """A newer scenario that came with the appliance, and what differs from it on both sides; 404 while there is none."""
    return _offer({})


@blueprint.post("/admin/scenario/offer/review")
@needs("scenario.manage")
@operation(SCOPE, {200: schemas.OfferedScenario}, takes=Choices, example={"choices": {"scenario.yml: classes.notebook.title": "ours"}})
def review_offer() -> Answer:
    """What comes of both together with these choices; nothing is saved."""
    return _offer(forms.read(Choices).choices)


@blueprint.post("/admin/scenario/offer/merge")
@needs("scenario.manage")
@operation(
    SCOPE, {201: schemas.ScenarioVersion}, takes=TakeMerged, creates=True, confirms=True,
    example={"digest": "DIGEST", "outcome": "DIGEST", "choices": {}},
)  # fmt: skip
def merge_offer() -> Answer:
    """Have both together count, as a review showed it."""
    asked = forms.read(TakeMerged)
    made = scenarios.take_merged(
        actor(), asked.choices, digest=asked.digest, seen=_seen(asked.seen), shown=asked.outcome, comment=asked.comment, build=asked.build
    )
    return _made(made)


@blueprint.post("/admin/scenario/offer/take")
@needs("scenario.manage")
@operation(SCOPE, {201: schemas.ScenarioVersion}, takes=TakeWaiting, creates=True, confirms=True, example={"digest": "DIGEST"})
def take_offer() -> Answer:
    """Have the newer one count as it is; what was changed here stays in the versions before."""
    asked = forms.read(TakeWaiting)
    return _made(scenarios.take_offer(actor(), digest=asked.digest, seen=_seen(asked.seen), comment=asked.comment, build=asked.build))


@blueprint.post("/admin/scenario/offer/leave")
@needs("scenario.manage")
@operation(SCOPE, {201: schemas.ScenarioVersion}, takes=Left, creates=True, confirms=True, example={"digest": "DIGEST"})
def leave_offer() -> Answer:
    """Take nothing of the newer one, for good; the next one is compared with it."""
    asked = forms.read(Left)
    return _made(scenarios.keep_ours(actor(), digest=asked.digest, seen=_seen(asked.seen), comment=asked.comment))
