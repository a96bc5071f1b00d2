"""Addresses that pages had before, each led to the page's address of today: bookmarks, links in old mails, pages open during an update."""

from collections.abc import Callable
from urllib.parse import quote

from flask import Flask, redirect, request
from werkzeug.wrappers import Response

from webui.guard import public

# The former address and today's. What lies below an address has moved with it; an argument keeps its name.
MOVED = {
    "/admin/host": "/admin/server/metrics/",
    "/admin/server/tasks": "/admin/server/operations",
    "/admin/server/parts": "/admin/server/processes",
    "/admin/server/backups/plan": "/admin/server/backups/schedule",
    "/admin/aside": "/admin/orphans/",
    "/admin/disks": "/admin/data-disks/",
    "/admin/disks/kept": "/admin/retained-disks/",
    "/admin/recovery": "/admin/disk-backups/",
    "/admin/recovery/bring-back": "/admin/disk-backups/restore",
    "/admin/units": "/admin/org-units/",
    "/admin/grants/take": "/admin/grants/revoke",
    "/admin/grants/quotas": "/admin/quotas/",
    "/admin/grants/why/<int:id>": "/admin/accounts/<int:id>/permissions",
    "/admin/settings/outside": "/admin/settings/email-and-webhooks/",
    "/disks": "/data-disks",
    "/kept/<id>/bring-back": "/retained-disks/<id>/restore",
    "/kept/<id>/forget": "/retained-disks/<id>/delete",
    "/together": "/batches",
}


def init_app(app: Flask) -> None:
    for number, (former, today) in enumerate(MOVED.items()):
        view, methods = public(_to(today)), ["GET", "POST"]
        app.add_url_rule(former, f"moved.{number}", view, methods=methods, strict_slashes=False)
        app.add_url_rule(f"{former}/<path:rest>", f"moved.{number}", view, methods=methods)


def _to(today: str) -> Callable[..., Response]:
    def view(rest: str = "", **arguments: object) -> Response:
        """A permanent redirect that keeps the method, what was sent, and the query. Who may see the page, the page itself asks."""
        path = today
        for name, value in arguments.items():
            path = path.replace(f"<int:{name}>", str(value)).replace(f"<{name}>", quote(str(value), safe=""))
        if rest:
            path = f"{path.rstrip('/')}/{quote(rest)}"
        query = request.query_string.decode("latin-1")
        return redirect(f"{path}?{query}" if query else path, 308)

    return view
