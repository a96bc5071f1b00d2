"""Typed work is never thrown away: a form that comes after its session has ended goes along with signing in, and is offered again then.

It is sent only when the person says so on a page of ours, and only kept when a page of ours sent it in the first place.
"""

import json
from dataclasses import dataclass
from urllib.parse import urlsplit

from flask import request

FIELD = "kept"
MOST = 128 << 10  # characters


@dataclass(frozen=True)
class Form:
    """What was sent: the address of ours that it was sent to, and the fields in their order."""

    address: str
    fields: list[tuple[str, str]]


def fields() -> list[tuple[str, str]] | None:
    """What the form of this request has, in its order and without its token, to be sent once more by hidden fields.

    None of one with files: a page cannot choose them again, and what belongs to them may be their passphrase.
    """
    if any(file.filename for file in request.files.values()):
        return None
    return [(name, value) for name, value in request.form.items(multi=True) if name != "csrf_token"]


def of_request() -> str:
    """The form of this request, for a hidden field; nothing when it has none, or when another page than ours sent it."""
    # One with files is not even read: it may be large, and nobody has signed in yet.
    if request.mimetype != "application/x-www-form-urlencoded" or request.method != "POST" or not request.form or not _is_ours():
        return ""
    text = json.dumps({"address": request.full_path.rstrip("?"), "fields": fields()})
    return text if len(text) <= MOST else ""


def _is_ours() -> bool:
    site = request.headers.get("Sec-Fetch-Site")
    return site == "same-origin" if site else urlsplit(request.headers.get("Origin", "")).netloc == request.host


def read(text: str) -> Form | None:
    """The form in such a field; None when there is none in it."""
    try:
        found = json.loads(text)
        address, fields = found["address"], [(str(name), str(value)) for name, value in found["fields"]]
    except (ValueError, TypeError, KeyError):
        return None
    return Form(address, fields) if isinstance(address, str) and address.startswith("/") and not address.startswith(("//", "/\\")) else None
