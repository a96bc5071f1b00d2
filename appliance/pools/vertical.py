"""What a running machine's memory should be: `decide()`, a pure function of what its kernel says and of bounds. All sizes are MiB.

It gets a step more when little is left to it, and gives one back when it would have well more than that without it: what is given back was
measured to be free just before, and several times. Who is silent, or says what cannot be, keeps what it has.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum

from appliance.scenario.policy import MEMORY_STEP

LEAST, SHARE = 48, 0.12  # little is left when less than this share of its memory is available, or than so many MiB
GAP = 64  # between what is little and what it keeps at least when it gives back
CALM = 3  # looks in a row at which it could have given back, before it is asked to
AFTER_MORE, AFTER_LESS = 60.0, 10.0  # seconds after it was given memory, and after it gave some back, before it is asked for a step
STUCK = 60.0  # seconds after which what it did not take, or give back, is no longer asked for
TOLD = 3600.0  # before what holds a decision is told again


class Held(StrEnum):
    """Why a machine's memory stays as it is."""

    SILENT = "silent"
    IMPLAUSIBLE = "implausible"
    MOST = "most"
    HOST = "host"
    QUOTA = "quota"
    STUCK = "stuck"


@dataclass(frozen=True)
class Seen:
    """A machine at one look: what it started with, what it may have besides at most, was asked to have, and has; what its kernel says it has and could
    still use, None when it says nothing."""

    start: int
    room: int
    asked: int
    has: int
    total: int | None = None
    available: int | None = None

    @property
    def counts(self) -> int:
        """What counts as given besides: whole steps, all that it has or may still take."""
        return -(-max(self.asked, self.has) // MEMORY_STEP) * MEMORY_STEP


@dataclass(frozen=True)
class Past:
    """What is remembered between looks at a machine: when its memory was changed last, and to more or less; looks in a row at which it could have given
    back, and at which it said nothing; and when what was told."""

    changed: float | None = None
    grew: bool = False
    calm: int = 0
    silent: int = 0
    told: Mapping[Held, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Decision:
    """What a machine is to be asked to have besides, and why in words. `held` says why that is not what it needs; `is_told` is off for what was told
    within the last hour."""

    more: int
    why: str
    past: Past
    held: Held | None = None
    is_told: bool = False


def little(total: int) -> int:
    """What is little available memory of so much."""
    return max(LEAST, int(total * SHARE))


def decide(seen: Seen, past: Past, now: float, refused: tuple[Held, str] | None = None) -> Decision:
    """What to ask of a machine now. `refused` says why it could not be given another step, if it needed one; seconds are on any axis."""
    if seen.total is None or seen.available is None:
        return _hold(seen, replace(past, silent=past.silent + 1), now, Held.SILENT, "it says nothing of its memory")
    past = replace(past, silent=0)
    if not 0 <= seen.available <= seen.total or not 0 < seen.total <= seen.start + seen.counts:
        return _hold(seen, past, now, Held.IMPLAUSIBLE, f"it says that {seen.available} of {seen.total} MiB are available, which cannot be")
    least = little(seen.total)
    left = f"{seen.available} of {seen.total} MiB are available"
    if seen.asked != seen.has:
        return _under_way(seen, past, now, least, left)
    if seen.available < least:
        why = f"{left}, less than {least}"
        if seen.has + MEMORY_STEP > seen.room:
            return _hold(seen, past, now, Held.MOST, f"{why}, and {seen.start + seen.room} MiB are the most it may have")
        if refused is not None:
            return _hold(seen, past, now, refused[0], f"{why}, and {refused[1]}")
        return Decision(seen.counts + MEMORY_STEP, why, Past(now, grew=True, told=past.told), is_told=True)
    if not _can_give(seen, least):
        return Decision(seen.asked, left, replace(past, calm=0))
    calm = past.calm + 1
    wait = AFTER_MORE if past.grew else AFTER_LESS
    if calm < CALM or (past.changed is not None and 0 <= now - past.changed < wait):
        return Decision(seen.asked, left, replace(past, calm=calm))
    why = f"{left}, and without {MEMORY_STEP} of them no less than {least + GAP}"
    return Decision(seen.counts - MEMORY_STEP, why, Past(now, told=past.told), is_told=True)


def _can_give(seen: Seen, least: int) -> bool:
    assert seen.available is not None
    return seen.has >= MEMORY_STEP and seen.available - MEMORY_STEP >= least + GAP


def _under_way(seen: Seen, past: Past, now: float, least: int, left: str) -> Decision:
    """It has not taken yet what it was given, or not given back what it was asked for: it is left alone, unless it needs that, or is stuck."""
    assert seen.available is not None
    giving = seen.asked < seen.has
    if giving and seen.available < least:
        return Decision(
            seen.counts, f"{left}, less than {least}: it keeps what it was asked for", Past(now, grew=True, told=past.told), is_told=True
        )
    if past.changed is None:  # whoever asked is not known any more
        return Decision(seen.asked, left, Past(now, grew=not giving, told=past.told))
    if 0 <= now - past.changed < STUCK:
        return Decision(seen.asked, left, replace(past, calm=0))
    has = seen.has // MEMORY_STEP * MEMORY_STEP if not giving else seen.counts
    did = "given back" if giving else "taken"
    held = _hold(seen, past, now, Held.STUCK, f"what it was asked for is not {did} after {STUCK:.0f} s")
    return replace(held, more=has, past=Past(now, grew=True, told=held.past.told))


def _hold(seen: Seen, past: Past, now: float, held: Held, why: str) -> Decision:
    told = past.told.get(held)
    is_told = (told is None or not 0 <= now - told < TOLD) and (held is not Held.SILENT or past.silent >= CALM)  # it may be booting
    return Decision(seen.asked, why, replace(past, calm=0, told={**past.told, held: now} if is_told else past.told), held, is_told)
