"""Search: what Ctrl-K answers while somebody types, among 10,000 machines and 5,000 people, against the sign-in page of the same server."""

import statistics
import time
import uuid
from collections.abc import Callable, Iterator
from typing import Any

from appliance import catalog
from appliance.catalog import Account, Machine, MachineState, Seed, now
from tests.bench.claim import Person, serving
from tests.bench.scale import _insert

MACHINES, PEOPLE, ROUNDS = 10_000, 5_000, 12
SMALLEST = {"MACHINES": 200, "PEOPLE": 100, "ROUNDS": 1}
FIRST, LAST = ("Ada", "Alan", "Grace", "Mary", "Émilie", "Sofja", "Emmy", "Kurt"), ("Lovelace", "Turing", "Hopper", "Somerville", "Noether")
TYPED = ("small-4711", "person 12", "mary l", "storage", "nothing like it")


def fill() -> None:
    """Machines alive, a third of them somebody's, and people."""
    seed, begun = Seed.get(), now()
    with catalog.write():
        _insert(
            Account,
            [
                {"name": f"u{n}", "full_name": f"{FIRST[n % 8]} {LAST[n % 5]} {n}", "email": f"u{n}@example.org", "password": "!", "created_at": begun}
                for n in range(PEOPLE)
            ],
        )  # fmt: skip
        owners = [row.id for row in Account.select(Account.id)]
        _insert(
            Machine,
            [
                {
                    "number": n, "id": str(uuid.UUID(int=n)), "name": f"small-{n}", "machine_class": seed.class_name, "seed": seed.id,
                    "slot": 100_000 + n, "door": 100_000 + n, "state": MachineState.READY if n % 3 else MachineState.IN_USE,
                    "owner": None if n % 3 else owners[n % len(owners)], "state_since": begun, "vcpus": 1, "memory": 512, "disk": 8,
                    "origin": "fork", "readiness": "paused", "step": "", "problem": "", "attempts": 0, "reclaim_reason": "", "created_at": begun,
                }
                for n in range(1, MACHINES + 1)
            ],
        )  # fmt: skip


def _seconds(ask: Callable[[], tuple[int, bytes]]) -> float:
    begun = time.perf_counter()
    status, body = ask()
    took = time.perf_counter() - begun
    assert status == 200, body[:300]
    return took


def run() -> Iterator[dict[str, Any]]:
    with serving() as settings:
        fill()
        admin, visitor = Person(settings, "admin"), Person(settings)
        texts = [text[:end].replace(" ", "%20") for text in TYPED for end in range(1, len(text) + 1)]
        answers, pages = [], []
        for text in texts * ROUNDS:
            answers.append(_seconds(lambda text=text: admin.ask("GET", f"/search?q={text}", headers=["HX-Request: true"])))  # type: ignore[misc]
            pages.append(_seconds(lambda: visitor.ask("GET", "/sign-in")))
        answer, page = (statistics.quantiles(times, n=100)[98] for times in (answers, pages))
        yield {
            "name": "pages.search", "value": round(answer / page, 3), "unit": f"times the sign-in page, p99; the answer took {answer:.4f} s",
            "baseline": f"p99 of the sign-in page in s; the answer is over {MACHINES:,} machines and {PEOPLE:,} people",
            "baseline_value": round(page, 5), "ratio": round(page / answer, 3),
        }  # fmt: skip
