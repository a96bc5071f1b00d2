"""What is here and the catalog does not know: what an admin decides of it. The engine does it; see lifecycle/aside.py."""

from typing import Any

from appliance import catalog
from appliance.catalog import Account, Actor, Aside, AsideKind, EventKind, aside, doorbell, options, record
from appliance.errors import BadInput, Conflict, NotFound

CHOICES = ("adopt", "aside")
MOST_DAYS = 3650
LABELLED = (AsideKind.MACHINE, AsideKind.DATA_DISK, AsideKind.KEPT_DISK)  # that belong to somebody


def everything() -> list[Aside]:
    """All that is set aside, machines first."""
    return aside.everything()


def count() -> int:
    """How many machines and disks of people are set aside."""
    return sum(one.kind in LABELLED for one in aside.everything())


def undecided() -> dict[str, Any]:
    """Why nothing is made and nothing removed: `why` (older, other, unmarked), `at` (ISO 8601), `choice` and `by`; empty when all goes on."""
    found: dict[str, Any] = options.get("undecided")
    return found


def days() -> int:
    """After how many days what is set aside is removed by itself; 0: never."""
    found: int = options.get("aside_days")
    return found


def decide(actor: Actor, choice: str) -> None:
    """Go on with this catalog: `adopt` what is certain, or set all of it `aside`. Raises Conflict when there is nothing to decide."""
    if choice not in CHOICES:
        raise BadInput("There is no such decision.", "Choose one of those on the page.")
    with catalog.write():
        asked = undecided()
        if not asked or asked["choice"]:
            raise Conflict("That is decided already.", "Reload the page to see what became of it.")
        options.put("undecided", {**asked, "choice": choice, "by": actor.name})
    doorbell.ring()


def adopt(actor: Actor, number: int, account_name: str = "") -> None:
    """Have the engine make it what it was, for its owner, or for whoever is chosen. Raises NotFound, BadInput, Conflict."""
    with catalog.write():
        one, values = _get(number), dict[str, Any]()
        if one.kind is AsideKind.SNAPSHOT:
            raise Conflict("A snapshot is adopted with the machine that lies on it.", "Adopt that.")
        if one.kind in LABELLED and (account_name or one.doubt):
            account = Account.get_or_none(Account.name == account_name.strip(), Account.disabled == False)  # noqa: E712
            if account is None:
                raise BadInput("There is nobody of that name who may sign in.", "Write the name of an account.", field="account")
            values["account"] = account.id
        Aside.update(wish="adopt", wished_by=actor.name, problem="", **values).where(Aside.number == number).execute()
    doorbell.ring()


def remove(actor: Actor, number: int) -> None:
    """Have the engine delete it with everything on it. Raises NotFound, Conflict."""
    with catalog.write():
        one = _get(number)
        Aside.update(wish="remove", wished_by=actor.name, problem="").where(Aside.number == number).execute()
        message = f"{actor.name} wants {one.name or one.id}, which is set aside, removed."
        record(EventKind.ASIDE_REMOVE_ASKED, message, actor, object=f"aside:{one.id}")
    doorbell.ring()


def keep_for(actor: Actor, text: str) -> None:
    """Set after how many days what is set aside is removed by itself; 0: never. Raises BadInput."""
    text = text.strip()
    if not (text.isascii() and text.isdigit() and len(text) < 6 and int(text) <= MOST_DAYS):
        raise BadInput(f"{text!r} is no number of days.", f"Write a whole number up to {MOST_DAYS}; 0 means never.", field="days")
    with catalog.write():
        before, after = {"aside_days": days()}, {"aside_days": int(text)}
        options.put("aside_days", int(text))
        record(EventKind.SETTINGS_CHANGED, f"{actor.name} changed how long things stay set aside.", actor, before=before, after=after)
    doorbell.ring()


def _get(number: int) -> Aside:
    found = aside.by_number(number)
    if found is None:
        raise NotFound("That is not set aside any more.", "It was adopted or removed.")
    if undecided():
        raise Conflict("First decide how the appliance goes on.", "The choice is at the top of the page.")
    if found.wish:
        raise Conflict("The engine is at work on it already.", "Reload the page in a moment.")
    return found
