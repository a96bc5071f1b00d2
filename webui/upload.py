"""Large files that people send: written to the folder of uploads as they come, one at a time. Nothing of them is held in memory.

A view takes one by `@takes_large_file`; only its form, or the bare bytes as the request's body, may be large. Whoever may not call the view is
turned away before a byte is read. The view calls `received()`, and what it does not hand on is deleted with the request.
"""

import contextlib
import os
import shutil
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any, TypeVar

import flask
from flask import Flask, current_app, g, request

from appliance import layout
from appliance.errors import BadInput, Conflict, Unavailable
from appliance.settings import Settings
from webui.guard import settings

View = TypeVar("View", bound=Callable[..., Any])

CHUNK = 1 << 20  # bytes
ROOM = 512 << 20  # bytes that must stay free
ENDING = ".raucb"


def takes_large_file(view: View) -> View:
    """The view may be sent a file of any size that there is room for."""
    view.large = True  # type: ignore[attr-defined]
    return view


def takes_file_of(most: int) -> Callable[[View], View]:
    """The view may be sent a file of so many bytes, which a form holds."""

    def mark(view: View) -> View:
        view.most = most  # type: ignore[attr-defined]
        return view

    return mark


def is_large() -> bool:
    """Whether the view of this request takes large files."""
    return request.endpoint is not None and getattr(current_app.view_functions[request.endpoint], "large", False)


class Request(flask.Request):
    """Spools a large file where there is room for it, in place of memory and /tmp."""

    def _get_file_stream(
        self, total_content_length: int | None, content_type: str | None, filename: str | None = None, content_length: int | None = None
    ) -> IO[bytes]:
        if is_large():
            return begin(settings(), total_content_length)
        return super()._get_file_stream(total_content_length, content_type, filename, content_length)


def init_app(app: Flask) -> None:
    """Before the guard's own, since looking for a form's token reads the form."""
    app.request_class = Request
    app.before_request(_allow)
    app.teardown_request(_end)


def _allow() -> None:
    if is_large():
        request.max_content_length = 1 << 50  # what there is room for is looked at when it begins
    elif most := getattr(current_app.view_functions.get(request.endpoint or ""), "most", 0):
        request.max_content_length = most + (64 << 10)  # and what else is in the form


def begin(settings: Settings, size: int | None) -> IO[bytes]:
    """The file to write to, until the request ends. Raises BadInput, Conflict or Unavailable before anything is read."""
    g.upload_begun = True
    if not size:
        raise BadInput("No file was sent.", "Choose a file.")
    if "upload" in g:
        raise BadInput("More than one file was sent.", "Send one file.")
    held = layout.hold(
        settings.uploads / "lock", lambda _: Conflict("Another file is being sent already.", "Wait until it is here, or has failed.")
    )
    g.upload_lock = held
    for left in settings.uploads.glob("*" + ENDING):  # of requests that were killed
        left.unlink(missing_ok=True)
    free = shutil.disk_usage(settings.uploads).free
    if free < size + ROOM:
        raise Unavailable(
            f"There is too little room for a file of {size >> 20} MiB: {free >> 20} MiB are free.",
            "Make room: delete old seeds, retained disks or copies of data disks.",
        )
    g.upload = settings.uploads / f"{uuid.uuid4().hex}{ENDING}"
    return g.upload.open("w+b")  # type: ignore[no-any-return]


def received(settings: Settings, field: str) -> Path:
    """The file that was sent, as a form's field or as the body itself, whole and on disk. Raises BadInput when there is none."""
    if request.mimetype == "multipart/form-data":
        file = request.files.get(field)
        if file is None or not file.filename or "upload" not in g:
            raise BadInput("No file was sent.", "Choose a file.")
        _sync(file.stream)
        file.close()
    else:
        with begin(settings, request.content_length) as out:
            while chunk := request.stream.read(CHUNK):
                out.write(chunk)
            _sync(out)
    found: Path = g.upload
    return found


def _sync(out: IO[bytes]) -> None:
    out.flush()
    os.fsync(out.fileno())


def _end(_error: BaseException | None) -> None:
    if (file := g.pop("upload", None)) is not None:
        with contextlib.suppress(OSError):
            file.unlink(missing_ok=True)
    if (held := g.pop("upload_lock", None)) is not None:
        held.close()
    if g.pop("upload_begun", False):  # a connection closed on one who still sends takes the answer with it
        with contextlib.suppress(OSError):
            while request.environ["wsgi.input"].read(CHUNK):
                pass
