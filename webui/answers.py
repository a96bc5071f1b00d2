"""What every answer has, of this page and of the rescue page: the status of an error, and what the browser is told to refuse."""

from flask import Response, request

from appliance.errors import BadInput, Conflict, DpeError, NotAllowed, NotFound, Unavailable

STATUS: dict[type[DpeError], int] = {BadInput: 400, NotAllowed: 403, NotFound: 404, Conflict: 409, Unavailable: 503}

CSP = (
    "default-src 'self'; img-src 'self' data:; object-src 'none'; base-uri 'none'; frame-ancestors 'none'; form-action 'self'{form_targets}"
)


def status_of(error: DpeError) -> int:
    """The HTTP status of an error of ours."""
    return next((STATUS[kind] for kind in type(error).__mro__ if kind in STATUS), 500)


def protect(response: Response, form_targets: str = "") -> Response:
    """Add the headers; `form_targets` are further places that its forms may lead to."""
    headers = response.headers
    if response.status_code == 503:
        headers.setdefault("Retry-After", "5")
    headers["Content-Security-Policy"] = CSP.format(form_targets=form_targets)
    headers.setdefault("Referrer-Policy", "same-origin")
    headers["X-Content-Type-Options"] = "nosniff"
    headers["Cross-Origin-Opener-Policy"] = "same-origin"
    if request.endpoint != "static":
        headers.setdefault("Cache-Control", "no-store")
    return response
