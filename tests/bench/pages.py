"""Pages: what a list costs with a filter, with 10,000 machines alive and 5,000 people, and how many bytes a first visit to the portal is."""

import re
from collections.abc import Iterator
from typing import Any

from appliance import catalog
from appliance.catalog import Account
from tests.bench import scale
from tests.bench.claim import Person, serving

MACHINES, PEOPLE, TIMES = 10_000, 5000, 20
SMALLEST = {"MACHINES": 100, "PEOPLE": 50, "TIMES": 1}

# Each list, and what it is narrowed to: few rows, many rows, none.
LISTS = {
    "/admin/machines/": ("text=holder7", "text=nobody-is-called-like-that", "state=ready&class=small", "state=failed"),
    "/admin/accounts/": ("text=holder7", "text=nobody-is-called-like-that", "state=disabled", "role=owner"),
}


def people() -> None:
    """More accounts, up to PEOPLE."""
    with catalog.write():
        missing = PEOPLE - Account.select().count()
        scale._insert(Account, [{"name": f"extra{n}", "full_name": f"Somebody {n}", "password": "!"} for n in range(max(0, missing))])


LARGEST = 90_000  # bytes that a first visit may be


def first_visit(person: Person, *headers: str) -> int:
    """Bytes of the bodies of the portal and of all that its page names, as a browser without anything in its cache gets them."""
    page = person.get("/").decode()
    named = dict.fromkeys(re.findall(r'(?:href|src)="(/static/[^"#]+)', page))
    font = next(name for name in re.findall(r'url\("\.\./([^"]+latin-wght[^"]+)"\)', person.get("/static/css/app.css").decode()))
    bodies = [person.ask("GET", path, headers=headers) for path in ("/", *named, f"/static/{font}")]
    assert {status for status, _ in bodies} == {200}
    return sum(len(body) for _, body in bodies)


def run() -> Iterator[dict[str, Any]]:
    with serving(slots=MACHINES + scale.WAITING, subnet="127.77.0.0/16") as settings:
        scale.fill(MACHINES)
        people()
        admin = Person(settings, "admin")
        worst, without = 0.0, 0.0
        for path, filters in LISTS.items():
            addresses = (path, *(f"{path}?{query}" for query in filters))
            best = dict.fromkeys(addresses, float("inf"))
            for _ in range(TIMES):  # in turn, so that whatever else the machine does slows all of them
                for address in addresses:
                    best[address] = min(best[address], admin.first_byte(address))
            plain = best.pop(path)
            if (found := max(best.values()) / plain) > worst:
                worst, without = found, plain
        yield {
            "name": "pages.filter", "value": round(worst, 2), "unit": "times the list without a filter, the worst of both lists",
            "baseline": "seconds to the first byte of the list without", "baseline_value": round(without, 5), "ratio": round(1 / worst, 3),
        }  # fmt: skip
        value, whole = first_visit(admin, "Accept-Encoding: gzip"), first_visit(admin)
        yield {
            "name": "pages.cold", "value": value, "unit": f"bytes of a first visit to the portal, of {LARGEST}",
            "baseline": "bytes of the same, not compressed", "baseline_value": whole, "ratio": round(whole / value, 2),
        }  # fmt: skip
