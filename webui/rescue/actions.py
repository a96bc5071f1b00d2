"""What can be done from the rescue page: each a verb of dpe-host, offered where the host knows it, and asked about once more."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from pydantic import Field

from appliance.errors import BadInput, DpeError
from appliance.host.interface import backups, disks, rescue, system, updates
from appliance.host.rpc.client import Client
from appliance.host.rpc.verb import Arguments, LongVerb, Nothing, Verb
from webui import language
from webui.forms import Form, Line, Ticked

Choices = list[tuple[str, str]]  # value and label


class Asked(Form):
    """What an action is asked with; each has some of it. `look` asks for what could be chosen, and does nothing."""

    choice: str = ""
    disk: Line = Field(
        "",
        title="The disk's file system (UUID)",
        description="Leave both empty for the place that was set up on the appliance.",
    )
    key: Line = Field("", title="Recovery key")
    word: Line = ""
    thorough: Ticked = Field(False, title="Overwrite every byte, for a disk that leaves the house. It takes hours.")
    look: Ticked = False


@dataclass(frozen=True)
class Action:
    """`about` says in its list what it is for, `loses` before it is done what it costs; `word` has to be typed before."""

    name: str
    verb: Verb[Any, Any] | LongVerb[Any, Any]
    title: str
    icon: str
    about: str
    loses: str
    button: str
    choices: Callable[[Client, Asked], Choices]
    args: Callable[[Asked], Arguments]
    choose: str = ""  # what is chosen
    nothing: str = ""  # when there is nothing to choose
    image: bool = False
    danger: bool = True
    word: str = ""
    outcome: str = ""
    possible: Callable[[Client], bool] = lambda host: True


def _when(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M} UTC"


def _nothing(host: Client, asked: Asked) -> Choices:
    return []


def _parts(host: Client, asked: Asked) -> Choices:
    return [(part.name, f"{part.name}: {language.text(part.state)}") for part in host.call(system.UNITS)]


def _copies(host: Client, asked: Asked) -> Choices:
    found = host.call(rescue.CATALOG_COPIES)
    return [(copy.name, f"{_when(datetime.fromisoformat(copy.at))} ({copy.bytes >> 10} KiB)") for copy in found]


def _from(asked: Asked) -> dict[str, Any]:
    """Where backups are, as was entered; nothing for where the appliance itself keeps them. Raises BadInput."""
    if not asked.disk and not asked.key:
        return {}
    if not re.match(backups.UUID, asked.disk):
        raise BadInput("That is not the UUID of a file system.", "Choose one of those that the field offers.", field="disk")
    return {"target": {"kind": "disk", "uuid": asked.disk}, "key": asked.key}


def _backups(host: Client, asked: Asked) -> Choices:
    found = host.call(backups.LIST_FROM, backups.From.model_validate(_from(asked)))
    return [(one.id, f"{_when(one.at)}: {one.people} people, {one.disks} data disks") for one in reversed(found)]


ALL = (
    Action(
        "part",
        system.RESTART_UNIT,
        "Restart a process",
        "refresh",
        "Stops one of the appliance's processes and starts it again. Nothing is lost; machines go on.",
        "Nothing is lost. While it starts, what it does waits.",
        "Restart it",
        _parts,
        lambda asked: system.Which.model_validate({"name": asked.choice}),
        choose="Process",
        danger=False,
        outcome="It is being restarted. Look at the status in a moment.",
    ),
    Action(
        "catalog",
        rescue.PUT_BACK,
        "Restore a copy of the catalog",
        "database",
        "For a catalog that is damaged or missing. The appliance keeps a copy of each of the last three days on its disk.",
        "What was changed since the copy was made is forgotten: new people, settings and requests. "
        "Machines and disks that are younger stay as they are until an admin decides, on the page Orphans, whether they are adopted again. "
        "The catalog that is there now is kept aside.",
        "Restore it",
        _copies,
        lambda asked: rescue.Which(name=asked.choice),
        choose="Copy of",
        nothing="There is no copy yet. One is made each day, once the appliance is set up. Restore a backup instead.",
    ),
    Action(
        "restore",
        backups.RESTORE,
        "Restore a backup",
        "history",
        "Puts people, settings, keys and data disks back as they were, from the place where backups are kept.",
        "All that is on the appliance now is replaced by what is in the backup. Machines that are there now are gone; data disks are those of the backup.",
        "Restore it",
        _backups,
        lambda asked: backups.Restore.model_validate({"snapshot": asked.choice, **_from(asked)}),
        choose="Backup of",
        nothing="There is no backup there.",
        word="restore",
    ),
    Action(
        "back",
        updates.BACK,
        "Go back to the version before",
        "arrow-back-up",
        "For an update that made things worse. The server restarts into the version that ran before.",
        "The server restarts. If the newer version changed the form of the catalog, what was changed since the update is forgotten.",
        "Go back and restart",
        _nothing,
        lambda asked: updates.At(at=datetime.now(UTC)),
        image=True,
        outcome="The server restarts within a minute. This page comes back by itself when it is there again.",
        possible=lambda host: host.call(updates.STATUS).back is not None,
    ),
    Action(
        "bundle",
        rescue.BUNDLE,
        "Create a support bundle",
        "download",
        "A file with versions, settings, states and logs for whoever helps you. Passwords, keys and names of people are left out.",
        "Nothing is changed. It takes a minute, and you can look into the file before you send it to somebody.",
        "Create it",
        _nothing,
        lambda asked: Nothing(),
        danger=False,
    ),
    Action(
        "restart",
        system.RESTART,
        "Restart the server",
        "refresh",
        "Machines are saved before, and go on afterwards.",
        "Machines pause for some minutes, and so does this page.",
        "Restart",
        _nothing,
        lambda asked: Nothing(),
        danger=False,
        image=True,
        outcome="The server restarts. This page comes back by itself when it is there again.",
    ),
    Action(
        "off",
        system.POWER_OFF,
        "Shut the server down",
        "player-stop",
        "Machines are saved before, and go on when it is switched on again.",
        "Nobody can use a machine until somebody switches the server on at its own button.",
        "Shut down",
        _nothing,
        lambda asked: Nothing(),
        image=True,
        outcome="The server shuts down.",
    ),
    Action(
        "reset",
        disks.RESET,
        "Factory reset",
        "trash",
        "Erases everything and begins anew, as from the box. Backups elsewhere stay.",
        "LOST: all people, settings, machines and data disks on this server. The server restarts and asks to be set up.",
        "Erase everything",
        _nothing,
        lambda asked: disks.Reset(thorough=asked.thorough),
        image=True,
        word="erase",
        outcome="The server restarts and erases everything.",
    ),
)
ACTIONS = {action.name: action for action in ALL}


def offered(host: Client) -> list[Action]:
    """Those that this host can do."""
    verbs, image = host.call(system.VERBS), host.call(system.IMAGE).root
    return [action for action in ALL if action.verb.name in verbs and (image or not action.image) and _possible(action, host)]


def _possible(action: Action, host: Client) -> bool:
    try:
        return action.possible(host)
    except DpeError:
        return False


def do(action: Action, asked: Asked, host: Client) -> str:
    """Ask the host for it; returns the id of its operation where it is a long one. Raises BadInput when the word was not typed or nothing was chosen, and whatever the verb raises."""
    if action.word and asked.word.lower() != action.word:
        raise BadInput(f"Type the word {action.word} to show that you mean it.", "Nothing was done.", field="word")
    if action.choose and not asked.choice:
        raise BadInput("Choose one first.", "Nothing was done.", field="choice")
    if isinstance(action.verb, LongVerb):
        return host.begin(action.verb, action.args(asked))
    host.call(action.verb, action.args(asked))
    return ""
