"""The web page: Flask, a blueprint per area. It knows the services and reads the catalog, nothing deeper.

The application is in `app.py`, and is not imported with this package: the rescue page, which lies in it, must come when that one cannot.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from flask import Flask

    from appliance.settings import Settings


def create_app(settings: "Settings | None" = None) -> "Flask":
    """The application: pages, live stream and the front door's question, over the catalog of `settings`."""
    from webui import app

    return app.create_app(settings)
