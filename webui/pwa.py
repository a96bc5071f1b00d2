"""The web page as an app: what browsers need to install it, and a page that says so when the appliance cannot be reached."""

from pathlib import Path

from flask import Blueprint, Response, current_app, json, render_template, url_for

from appliance.services import overview
from webui.guard import public

blueprint = Blueprint("pwa", __name__)

COLOUR, BACKGROUND = "#0f766e", "#f5f7f9"
SHORT = 12  # letters that fit below an icon (W3C, Web Application Manifest, short_name)


@blueprint.get("/app.webmanifest")
@public
def manifest() -> Response:
    """W3C's Web Application Manifest. The name is the appliance's own, so that two of them are told apart."""
    title = overview.title()
    icon = url_for("static", filename="img/favicon.svg")
    said = {
        "id": "/",
        "name": title,
        "short_name": title if len(title) <= SHORT else title.split()[0][:SHORT],
        "start_url": "/",
        "scope": "/",
        "display": "standalone",
        "theme_color": COLOUR,
        "background_color": BACKGROUND,
        "icons": [
            {"src": icon, "sizes": "any", "type": "image/svg+xml"},
            *(
                {
                    "src": url_for("static", filename=f"img/icon-{size}.png"),
                    "sizes": f"{size}x{size}",
                    "type": "image/png",
                    "purpose": purpose,
                }
                for size in (192, 512)
                for purpose in ("any", "maskable")
            ),
        ],
        "shortcuts": [{"name": "My machines", "url": "/"}, {"name": "To do", "url": url_for("todo.index")}],
    }
    return Response(json.dumps(said), mimetype="application/manifest+json")


@blueprint.get("/service-worker.js")
@public
def worker() -> Response:
    """From the top, as it is in charge of no more than what is below its own address."""
    assert current_app.static_folder
    script = (Path(current_app.static_folder) / "js/service-worker.js").read_text()
    return Response(script, mimetype="text/javascript", headers={"Cache-Control": "no-cache"})


@blueprint.get("/offline")
@public
def offline() -> str:
    """What the service worker shows instead of the browser's own error: it is fetched once, by itself, and has nothing in it of anybody's."""
    return render_template("offline.html")
