"""The directory server: how it is reached, whether it works, and when it is synchronised."""

from dataclasses import dataclass
from typing import Any

from appliance import catalog
from appliance.bulkhead import Bulkhead
from appliance.catalog import Account, Actor, DirectoryRun, EventKind, RunState, doorbell, options, record, timezone
from appliance.errors import BadInput, Conflict, DpeError, NotAllowed
from appliance.identity import directory, directory_link, directory_sync, directory_tree, passwords, secrets
from appliance.identity.directory_config import Config, config
from appliance.identity.directory_link import Limit
from appliance.identity.directory_settings import PURPOSE, current, entered, has_password, is_none, is_on
from appliance.identity.directory_settings import password as kept_password

SAMPLE = 3  # names shown of what was found

# Servers that are away, and names that are tried, are remembered by the link itself.
SIGNING_IN = Bulkhead("signing in through the directory", 8, line=16, patience=directory.SIGN_IN)
TESTING = Bulkhead("testing a directory", 2)
TEST = 45.0  # seconds for the whole test of what was entered, well below what the front door waits
TEST_ANSWER = 10.0  # for each answer


@dataclass(frozen=True)
class Finding:
    """One thing that the test found."""

    ok: bool
    text: str
    hint: str = ""


def typed(entered: str) -> str:
    """The name in what somebody entered: without the domain that people of Active Directory are used to write before it."""
    stored = options.get("directory")
    return entered.rpartition("\\")[2] if stored.get("on") and stored["config"]["kind"] == "ad" else entered


def verify(account: Account | None, name: str, password: str) -> Account | None:
    """The account that name and password open, asked of whoever knows the password; None when they do not fit.

    `account` is the one of that name, if there is one. Raises what directory.authenticate() raises, and Conflict.
    """
    using = None if account is not None and account.directory_id is None else current()
    if using is None:
        local = account is not None and account.directory_id is None
        return account if passwords.matches(account.password if account and local else None, password) else None
    with SIGNING_IN.wait():
        somebody = directory.authenticate(*using, name, password)
    if somebody is not None and somebody.disabled:
        raise NotAllowed(*directory_link.AD_REASONS["533"])
    if somebody is None:
        return None
    is_new = not Account.select().where(Account.directory_id == somebody.id).exists()
    admitted = directory_sync.admit(somebody)
    if is_new and admitted is not None:
        synchronise(Actor(admitted.name, admitted.id))  # which brings their groups and org unit
    return admitted


def _complete(values: dict[str, Any], password: str) -> tuple[Config, str]:
    """What was entered, with the stored password where none was; it is told only to the servers it was entered for."""
    wanted, stored = config(values), options.get("directory")
    if password or not wanted.bind_dn:
        return wanted, password if wanted.bind_dn else ""
    if not has_password():
        raise BadInput("The reading account's password is missing.", "Enter it, or leave the account's name empty too.", field="password")
    before = config(stored["config"])
    same = ("servers", "encryption", "authority", "bind_dn")
    if any(getattr(before, name) != getattr(wanted, name) for name in same):
        raise BadInput(
            "Servers, encryption or the reading account have changed.",
            "Enter the reading account's password again: it is not told to others.",
            field="password",
        )
    return wanted, kept_password()


def change(actor: Actor, values: dict[str, Any], password: str) -> None:
    """Use this directory from now on, and synchronise it. Raises BadInput; then nothing has changed."""
    wanted, password = _complete(values, password)
    before = entered()
    after = wanted.model_dump(mode="json")
    with catalog.write():
        sealed = secrets.seal(PURPOSE, password) if password else ""
        options.put("directory", {"on": True, "config": after, "password": sealed})
        record(EventKind.DIRECTORY_CHANGED, f"{actor.name} changed how the directory is reached.", actor, before=before, after=after)
    synchronise(actor)


def switch(actor: Actor, *, on: bool) -> None:
    """Use the directory, or stop using it: then its people keep their accounts, but only local ones can sign in."""
    with catalog.write():
        stored = options.get("directory")
        if not entered():
            raise Conflict("There is no directory yet.", "Say first how it is reached.")
        options.put("directory", {**stored, "on": on})
        record(
            EventKind.DIRECTORY_ON if on else EventKind.DIRECTORY_OFF,
            f"{actor.name} switched the directory {'on' if on else 'off'}.",
            actor,
        )
    if on:
        synchronise(actor)


def say_none(actor: Actor) -> None:
    """There is none that people could come from, and nobody is asked for one any more. Raises Conflict when there is; saying how one is reached takes it back."""
    with catalog.write():
        if entered():
            raise Conflict("There is a directory already.", "Disable it, and only local accounts sign in.")
        if not is_none():
            options.put("directory", {"on": False, "none": True})
            record(EventKind.DIRECTORY_NONE, f"{actor.name} said that there is no directory.", actor)


def synchronise(actor: Actor, *, force: bool = False) -> None:
    """Ask the engine to synchronise now. With `force`, even when more than half of all people would have to go."""
    with catalog.write():
        if not is_on():
            raise Conflict("The directory is not in use.", "Switch it on first.")
        waiting = DirectoryRun.get_or_none(DirectoryRun.state == RunState.QUEUED)
        if waiting is None:
            waiting = DirectoryRun.create(asked_by=actor.name, force=force)
            record(EventKind.DIRECTORY_ASKED, f"{actor.name} asked for a synchronisation.", actor, force=force)
        elif force:
            waiting.force = True
            waiting.save(only=[DirectoryRun.force])
    doorbell.ring()


def runs(limit: int = 10) -> list[DirectoryRun]:
    """The last synchronisations, newest first."""
    return list(DirectoryRun.select().order_by(DirectoryRun.id.desc()).limit(limit))


# -- the test -------------------------------------------------------------------------------


def check_directory(values: dict[str, Any], password: str) -> list[Finding]:
    """Try what was entered, and say of every server and of every kind of entry what was found. Raises BadInput."""
    wanted, password = _complete(values, password)
    with TESTING.wait():
        limit = Limit.within(TEST, TEST_ANSWER)
        findings = [_knock(wanted, password, server, limit) for server in wanted.servers]
        if any(finding.ok for finding in findings):
            findings += _look(wanted, password, limit)
    if wanted.encryption == "none":
        findings.insert(
            0, Finding(False, "Passwords travel unencrypted.", "Whoever can listen in the network reads them. Use StartTLS or LDAPS.")
        )
    return findings


def _knock(wanted: Config, password: str, server: str, limit: Limit) -> Finding:
    try:
        until = directory_link.certificate_until(wanted, server, limit)
        with directory_link.opened(wanted, wanted.bind_dn, password, server, limit):
            pass
    except DpeError as error:
        return Finding(False, f"{server}: {error.message}", error.hint)
    trust = f" Its certificate is good until {timezone.date(until)}." if until else ""
    who = "takes the reading account's password" if wanted.bind_dn else "lets anybody read"
    return Finding(True, f"{server} answers and {who}.{trust}")


def _look(wanted: Config, password: str, limit: Limit) -> list[Finding]:
    try:
        tree = directory_tree.read_tree(wanted, password, limit=limit)
    except DpeError as error:
        return [Finding(False, error.message, error.hint)]
    findings = []
    for one, kind, found in (("person", "people", tree.people), ("group", "groups", tree.groups), ("org unit", "org units", tree.units)):
        names = sorted(entry.name for entry in found.values())
        some = ", ".join(names[:SAMPLE]) + (" …" if len(names) > SAMPLE else "")
        empty = f"Check the search base and the filter for {kind}."
        text = f"{len(names)} {one if len(names) == 1 else kind}: {some}"
        findings.append(Finding(True, text) if names else Finding(False, f"No {kind} found.", empty))
    return findings + [Finding(False, problem, "") for problem in tree.problems[:20]]
