"""Seed versions, and their building as it goes on."""

import re
from collections import deque
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path
from typing import Any

from flask import Blueprint, flash, render_template, send_file
from werkzeug.wrappers import Response

from appliance.catalog import Seed, SeedState, snapshots
from appliance.catalog import seeds as seed_rows
from appliance.catalog.grants import Scope
from appliance.catalog.listing import Page, Window
from appliance.errors import NotFound
from appliance.services import classes, overview, seeds
from webui import lists
from webui.format import SEED_STATES
from webui.guard import actor, back, needs, row_number, settings
from webui.lists import Column, Filter, List, Verb

blueprint = Blueprint("seeds", __name__, url_prefix="/admin/seeds")

TAIL = 200  # lines
TAIL_BYTES = 64 * 1024
COLOUR = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")


def _find(window: Window, reach: Scope, ids: Iterable[int] | None, state: str = "", class_name: str = "") -> Page[Seed]:
    return seed_rows.list_seeds(window, reach, ids, state=SeedState(state) if state else None, class_name=class_name)


SEEDS = List(
    endpoint="seeds.index",
    permission="seeds.read",
    noun="seed",
    thing="seed",
    key=int,
    find=_find,
    order="-created",
    columns=(
        Column("seed", "Seed", lambda row: f"{row.class_name} v{row.version}"),
        Column("state", "State", lambda row: row.state.value),
        Column("started", "Started", lambda row: row.started_at or row.created_at),
        Column("duration", "Duration", lambda row: _seconds(row), look="num end"),
        Column("created", "Created", lambda row: row.created_at, shown=False, look="text-secondary"),
    ),
    filters=(
        Filter("state", "State", choices=lambda: {state: label for state, (label, _) in SEED_STATES.items()}, every="Every state"),
        Filter("class", "Class", choices=lambda: lists.class_names("seeds.read"), every="Every class", argument="class_name", open=True),
    ),
    verbs=(
        Verb(
            "delete", "Delete", "deleted", lambda actor, id, _: seeds.remove(id, actor), "seeds.manage", "trash",
            "Their files are deleted: you cannot go back to these versions any more.",
        ),
    ),
    verb_endpoint="seeds.bulk",
)  # fmt: skip


def _seconds(seed: Seed) -> float | str:
    return round((seed.ended_at - seed.started_at).total_seconds(), 1) if seed.started_at and seed.ended_at else ""


@blueprint.get("/")
@needs("seeds.read")
def index() -> Response | str:
    return lists.answer("admin/seeds.html", lists.show(SEEDS), classes=classes.visible(actor(), "seeds.manage"), offers=seeds.offers())


@blueprint.post("/bulk")
@needs("seeds.manage")
def bulk() -> Response | tuple[str, int]:
    return lists.bulk(SEEDS)


@blueprint.get("/<int:id>")
@needs("seeds.read", seed="id")
def page(id: int) -> str:
    seed = seeds.get_seed(id)
    others, asked = seeds.comparable(seed) if seeds.packages_of(seed) else [], row_number("with")
    other = next((one for one in others if one.id == asked), others[0] if others else None)
    return render_template(
        "admin/seed.html",
        seed=seed,
        tail=_tail(seed),
        tail_lines=TAIL,
        machines_on=seed_rows.machines_on(id),
        health=overview.health(),
        snapshots=snapshots.of_seed(id),
        machine_class=seed.machine_class,
        seen=_seen(seed),
        pictured=seeds.picture(seed, settings()) is not None,
        packages=sorted(seeds.packages_of(seed).items()),
        facts={key: value for key, value in seed.manifest.items() if key != "packages" and isinstance(value, str | int | float)},
        others=others,
        other=other,
        changes=seeds.compare(other, seed) if other else [],
    )


def _seen(seed: Seed) -> dict[str, Any] | None:
    """What its machine showed in the test boot, with the time of that."""
    found: dict[str, Any] = seed.manifest.get("seen") or {}
    return {**found, "at": datetime.fromisoformat(found["at"])} if found else None


@blueprint.get("/<int:id>/screen")
@needs("seeds.read", seed="id")
def screen(id: int) -> Response:
    file = seeds.picture(seeds.get_seed(id), settings())
    if file is None:
        raise NotFound("There is no picture of this seed's machine.", "One is taken of a desktop when its seed is built.")
    return send_file(file, mimetype="image/png", max_age=0)


def _log(seed: Seed) -> Path | None:
    """The build's log, when there is one; only files under the logs' directory are shown to anybody."""
    file = Path(seed.log).resolve() if seed.log else None
    return file if file and file.is_file() and file.is_relative_to(settings().logs.resolve()) else None


def _tail(seed: Seed) -> str:
    file = _log(seed)
    if file is None:
        return ""
    with file.open("rb") as log:
        log.seek(max(0, file.stat().st_size - TAIL_BYTES))
        lines = deque(log.read().decode(errors="replace").splitlines(), maxlen=TAIL)
    return COLOUR.sub("", "\n".join(lines))


@blueprint.get("/<int:id>/log")
@needs("seeds.read", seed="id")
def log(id: int) -> Response:
    seed = seeds.get_seed(id)
    file = _log(seed)
    if file is None:
        raise NotFound("This seed has no log yet.", "It appears when the build begins.")
    return send_file(file, mimetype="text/plain", as_attachment=True, download_name=f"seed-{seed.class_name}-{seed.version}.log")


@blueprint.post("/<int:id>/promote")
@needs("seeds.manage", seed="id")
def promote(id: int) -> Response:
    seeds.promote(id, actor())
    flash("Promoted: new machines are made from this version, and the buffer is replaced gradually.", "success")
    return back()


@blueprint.post("/<int:id>/cancel")
@needs("seeds.manage", seed="id")
def cancel(id: int) -> Response:
    seeds.cancel(id, actor())
    flash("The build is being stopped; the promoted seed stays in use.", "success")
    return back()


@blueprint.post("/<int:id>/remove")
@needs("seeds.manage", seed="id")
def remove(id: int) -> Response:
    seeds.remove(id, actor())
    flash("Its files are being deleted.", "success")
    return back()
