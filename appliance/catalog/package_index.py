"""Which package indexes are to be read, and what came of the last try; the indexes themselves are files (../packages)."""

from dataclasses import dataclass
from datetime import datetime

from appliance.catalog import options
from appliance.catalog.models import now

NAME = "package_index"


@dataclass(frozen=True)
class Standing:
    """Of a release: whether its index is to be read, for whom ("": the appliance), and why it could not be the last time, and when that was."""

    wanted: bool = False
    by: str = ""
    problem: str = ""
    hint: str = ""
    failed_at: datetime | None = None


def of(os: str) -> Standing:
    """Where a release's index stands."""
    found = options.get(NAME).get(os, {})
    at = found.get("failed_at")
    return Standing(**{**found, "failed_at": datetime.fromisoformat(at) if at else None})


def wanted() -> list[str]:
    """The releases whose indexes are to be read."""
    return [os for os, found in options.get(NAME).items() if found.get("wanted")]


def want(os: str, by: str = "") -> None:
    """Have an index read; call it inside `write()`."""
    _put(os, {**options.get(NAME).get(os, {}), "wanted": True, "by": by})


def read(os: str) -> None:
    """It was read; call it inside `write()`."""
    _put(os, {})


def failed(os: str, problem: str, hint: str) -> None:
    """It could not be read; call it inside `write()`."""
    _put(os, {"problem": problem, "hint": hint, "failed_at": now().isoformat()})


def _put(os: str, standing: dict[str, object]) -> None:
    options.put(NAME, {**options.get(NAME), os: standing})
