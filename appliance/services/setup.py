"""First set-up: the code on the appliance's screen, then the wizard."""

import hashlib
import secrets
from dataclasses import dataclass
from zoneinfo import ZoneInfo, available_timezones

import yaml

from appliance import catalog, durable
from appliance.catalog import ENGINE, Account, Actor, EventKind, Grant, doorbell, options, policies, record, scenarios
from appliance.errors import BadInput, Conflict
from appliance.identity import passwords, throttle
from appliance.scenario import applications, tree
from appliance.scenario.load import ScenarioErrors
from appliance.services import accounts, classes, seeds
from appliance.services import scenarios as versions
from appliance.settings import Settings

# Letters and digits that cannot be taken for one another on a screen across the room.
ALPHABET = "ABCDEFGHJKMNPQRSTUVWXYZ23456789"


@dataclass(frozen=True)
class Wishes:
    """What the wizard asks. `pools` is, per class, (buffer, maximum)."""

    name: str
    full_name: str
    password: str
    title: str
    time_zone: str
    pools: dict[str, tuple[int, int]]


def is_done() -> bool:
    """Whether the appliance has been set up."""
    return bool(options.get("setup_done"))


def _digest(code: str) -> str:
    return hashlib.sha256(code.upper().replace("-", "").replace(" ", "").encode()).hexdigest()


def ensure_code(settings: Settings) -> None:
    """See that an appliance not yet set up has a setup code, in `setup-code` in the state directory, for root alone."""
    file = settings.state / "setup-code"
    if is_done():
        file.unlink(missing_ok=True)
        return
    if file.exists() and _digest(file.read_text().strip()) == options.get("setup_code"):
        return
    letters = "".join(secrets.choice(ALPHABET) for _ in range(12))
    code = "-".join(letters[at : at + 4] for at in (0, 4, 8))
    durable.write(file, code + "\n")
    with catalog.write():
        options.put("setup_code", _digest(code))


def check_code(code: str, address: str) -> None:
    """Raise BadInput when the setup code is wrong, NotAllowed when there were too many wrong ones."""
    names = throttle.of_setup(address)
    throttle.check_free(*names)
    expected = options.get("setup_code")
    if not expected or not secrets.compare_digest(_digest(code), expected):
        throttle.failed(*names)
        raise BadInput(
            "That is not the setup code.",
            "It is shown on the appliance's own screen, or at the end of what `make run` prints.",
            field="code",
        )


def _needs_seed(class_name: str) -> bool:
    """Whether nothing is there and nothing under way that machines of the class are made from: no seed came with the image."""
    return not (catalog.seeds.promoted(class_name) or catalog.seeds.unfinished(class_name))


def offered() -> list[catalog.Class]:
    """The classes that the scenario has which was chosen, by name."""
    return [one for one in classes.everything() if one.enabled]


def to_build() -> int:
    """How many seeds are built when set-up is finished."""
    return sum(_needs_seed(machine_class.name) for machine_class in offered())


# -- which machines -----------------------------------------------------------------------------------

WIZARD = "the wizard"
POLICY = {"maximum": 4, "buffer": 1}  # of a class that the wizard makes; its next field asks for both


def choose_shipped(address: str) -> None:
    """Have the classes that came with the appliance. Raises Conflict once set-up is done."""
    _choose(scenarios.read(versions.current().base), "had the scenario that came with the appliance", address)


def choose_class(application: str, os: str, address: str) -> None:
    """Have one class, with an application of the catalogue. Raises BadInput naming what is wrong, Conflict once set-up is done."""
    entry = applications.catalogue(scenarios.own_applications).get(application)
    if entry is None:
        raise BadInput("There is no such application.", "Choose one of the list.", field="scenario_application")
    about = entry.manifest
    if os not in about.releases:
        named = " or ".join(one.replace("-", " ").capitalize() for one in about.releases)
        raise BadInput(f"{about.title} does not run on that release.", f"Choose {named}.", field="scenario_os")
    memory, disk = applications.needed([(entry, {})])
    spec = {
        "title": about.title,
        "description": about.description,
        "icon": about.icon,
        "os": os,
        "applications": [{"name": application}],
        "size": {"memory": memory, "disk": disk},
        "policy": POLICY,
    }
    if not entry.is_opened:
        raise BadInput(
            f"{about.title} has nothing to open.", "Choose one that has; add this one to its class later.", field="scenario_application"
        )
    text = yaml.safe_dump({"name": "own", "title": "Machines of ours", "classes": {application: spec}}, sort_keys=False, allow_unicode=True)
    _choose({tree.MAIN: tree.File(text.encode())}, f"chose {about.title} from the catalogue", address)


def choose_import(content: bytes, address: str) -> None:
    """Have the scenario in a zip. Raises BadInput for one that cannot be used, with the first thing that is wrong; Conflict once set-up is done."""
    try:
        _choose(tree.read_zip(content), "imported a scenario", address)
    except ScenarioErrors as error:
        first, more = error.errors[0], len(error.errors) - 1
        message = f"{first.file}, line {first.line}: {first.message}{f'; and {more} more' if more else ''}."
        raise BadInput(message, f"{first.hint[:1].upper()}{first.hint[1:]}.", field="scenario_file") from None


def _choose(files: tree.Tree, did: str, address: str) -> None:
    if is_done():
        raise Conflict("The appliance is already set up.", "Sign in instead.")
    now = versions.current()
    if tree.digest(tree.listing(files)) != now.digest:
        versions.save_files(Actor(WIZARD, None, address), files, seen=now.number, did=did)


def finish(code: str, wishes: Wishes, address: str) -> Account:
    """Set the appliance up: first admin, title, time zone, pool sizes; the scenario's seeds are then built, unless they came with the image.

    Everything or nothing. Raises BadInput naming what is wrong, Conflict when set-up was done before.
    """
    check_code(code, address)
    if wishes.time_zone not in available_timezones():
        raise BadInput(f"There is no time zone {wishes.time_zone!r}.", "Pick one from the list, like Europe/Berlin.")
    ZoneInfo(wishes.time_zone)
    password = passwords.digest(wishes.password)
    with catalog.write():
        if is_done():
            raise Conflict("The appliance is already set up.", "Sign in instead.")
        account = accounts.insert(ENGINE, wishes.name, password, full_name=wishes.full_name)
        Grant.create(role="owner", account=account.id)
        actor = Actor(account.name, account.id, address)
        options.put("title", wishes.title.strip()[:60])
        options.put("time_zone", wishes.time_zone)
        for machine_class in offered():
            if machine_class.name in wishes.pools:
                buffer, maximum = wishes.pools[machine_class.name]
                if not 0 <= buffer <= maximum:
                    raise BadInput(
                        f"{machine_class.name}: {buffer} ready machines do not fit under a maximum of {maximum}.", "Raise the maximum."
                    )
                policies.change(machine_class, {"buffer": buffer, "maximum": maximum, "minimum": min(machine_class.minimum, maximum)})
        options.put("setup_done", True)
        options.put("setup_code", "")
        record(EventKind.SETUP_DONE, f"{account.name} set the appliance up.", actor)
        for machine_class in offered():
            if _needs_seed(machine_class.name):
                seeds.build(machine_class.name, actor)
    doorbell.ring()
    return account
