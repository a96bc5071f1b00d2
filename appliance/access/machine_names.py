"""Names of machines on the page's port, in place of ports of their own: https://LABEL.DOMAIN for the page that a machine opens with, and
https://LABEL-1.DOMAIN for the next one.

The catalog gives each who holds a machine another label. A name is an origin of its own, so what a page leaves in a browser is out of reach for
all other machines, and for whoever holds this one next.
"""

import json
import re

from appliance import durable
from appliance.errors import BadInput
from appliance.settings import PAGES, Settings

NAME = rf"m[0-9a-f]{{16}}(?:-[1-{PAGES - 1}])?"
LONGEST = 253 - len("m0123456789abcdef-1.")
_DOMAIN = re.compile(r"(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z](?:[a-z0-9-]{0,61}[a-z0-9])?", re.ASCII)


def name_of(host_label: str, page: int) -> str:
    """What stands before the domain, for a page of a machine, counted from 0."""
    return f"{host_label}-{page}" if page else host_label


def parse(name: str) -> tuple[str, int] | None:
    """Label and page of a name; None for what is none."""
    if not re.fullmatch(NAME, name):
        return None
    host_label, _, page = name.partition("-")
    return host_label, int(page or 0)


def is_machines(host: str, domain: str) -> bool:
    """Whether a host name is one that machines have below this domain."""
    return bool(domain) and re.fullmatch(rf"{NAME}\.{re.escape(domain)}", host) is not None


def check_domain(text: str) -> str:
    """The domain as it is kept. Raises BadInput."""
    domain = text.strip().lower().removeprefix("*.").rstrip(".")
    if len(domain) > LONGEST or not _DOMAIN.fullmatch(domain):
        raise BadInput(f"{text.strip()[:80]!r} is no domain.", "Write one like dpe.example.org, without a star and a port.", field="domain")
    return domain


def served(settings: Settings) -> str:
    """The domain that nginx is to serve names of machines below; empty for none."""
    try:
        return check_domain(json.loads((settings.tls / "machine-names.json").read_text())["domain"])
    except (FileNotFoundError, BadInput, ValueError, TypeError, KeyError, AttributeError):  # the door has to open whatever is in it
        return ""


def serve(settings: Settings, domain: str) -> None:
    """Serve names below this domain, or none; the door looks at once. nginx has to come up without a catalog, so it reads a file."""
    if domain != served(settings):
        durable.write(settings.tls / "machine-names.json", json.dumps({"domain": domain}))
