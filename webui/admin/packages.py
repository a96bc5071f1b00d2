"""Debian packages by release: found by their names and what they are for, with what they bring, and what can be built without the mirror."""

import re

from flask import Blueprint, flash, redirect, render_template, request, url_for
from werkzeug.wrappers import Response

from appliance.errors import DpeError
from appliance.services import packages
from webui.errors import status_of
from webui.guard import actor, asks_for_live_part, needs, settings

blueprint = Blueprint("packages", __name__, url_prefix="/admin/packages")

SHOWN = 20
WRAPPED = re.compile(r"(?<!\n)\n(?=\S)")  # within a paragraph: what begins with a blank is a line by itself


@blueprint.get("/")
@needs("seeds.read")
def index() -> tuple[str, int]:
    releases = packages.releases()
    asked = request.args.get("release", "")
    chosen = next((one for one in releases if one.os == asked), releases[0])
    text = " ".join(request.args.get("q", "")[: packages.LONGEST].split())
    error: DpeError | None = None
    total, found = 0, list[packages.Brought]()
    if text and chosen.count and not asks_for_live_part():  # what was found is no part of that
        try:
            total, found = packages.search(chosen.os, text, SHOWN)
        except DpeError as refused:
            error = refused
    page = render_template(
        "admin/packages.html",
        releases=releases,
        chosen=chosen,
        text=text,
        total=total,
        found=found,
        error=error,
        buildable=packages.buildable(actor(), settings()),
    )
    return page, status_of(error) if error else 200


@blueprint.get("/<release>/<package>")
@needs("seeds.read")
def page(release: str, package: str) -> str:
    detail = packages.detail(release, package)
    text = WRAPPED.sub(" ", detail.description)
    return render_template("admin/package.html", release=packages.release(release), detail=detail, text=text)


@blueprint.post("/<release>/refresh")
@needs("seeds.manage")
def refresh(release: str) -> Response:
    packages.refresh(actor(), release)
    flash("The package index is being read from the mirror. It takes about a minute.", "success")
    return redirect(url_for("packages.index", release=release), 303)
