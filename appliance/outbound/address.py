"""Where others find the appliance: the start of every link in a mail, and of every address that a webhook may answer to."""

from urllib.parse import urlsplit

from appliance.catalog import options
from appliance.connect import check_host
from appliance.errors import BadInput


def check_address(text: str) -> str:
    """The address as it is kept, without a slash at its end. Raises BadInput."""
    text = text.strip().rstrip("/")
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        parts, port = urlsplit(""), None
    if parts.scheme not in ("https", "http") or not parts.hostname or text != f"{parts.scheme}://{parts.netloc}" or "@" in parts.netloc:
        raise BadInput(
            f"{text[:80]!r} is not the appliance's address.",
            "Write one like https://dpe.example.org:8443, without a page.",
            field="address",
        )
    host = check_host(parts.hostname, "address")
    return f"{parts.scheme}://{f'[{host}]' if ':' in host else host}{f':{port}' if port else ''}"


def known() -> str:
    """The address, or nothing while nobody said it."""
    found: str = options.get("address")
    return found


def link(path: str) -> str:
    """The page of that path as others reach it; empty while the address is not known."""
    return known() and known() + path
