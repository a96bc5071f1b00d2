"""The appliance's own SSH server: whether it is there, and what a key that somebody shows it is good for.

It gives nobody a shell: it passes connections on to port 22 of the machines that somebody holds, as long as they do.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from appliance import catalog, layout
from appliance.catalog import Actor, EventKind, MachineState, machines, now, options, record, ssh_keys
from appliance.errors import BadInput
from appliance.identity import ssh_authority
from appliance.identity import ssh_keys as keys
from appliance.services import second_factor
from appliance.settings import Settings

PORT = 22
USER = layout.JUMP
OPTIONS = "restrict,port-forwarding"
OPTION = "ssh_server"


@dataclass(frozen=True)
class Admission:
    """Who was let in to what. `opens` are machines, by id, with whose they are; `key` is theirs, and empty for a certificate."""

    key: str
    opens: frozenset[tuple[str, int]]
    line: str
    """What sshd is told, as in a file like authorized_keys."""

    @property
    def session_id(self) -> str:
        """No browser's session has it."""
        return "ssh"

    @property
    def machine_id(self) -> str:
        return ", ".join(sorted(id for id, _ in self.opens))


def wanted() -> bool:
    """Whether an admin switched the server on."""
    return bool(options.get(OPTION))


def switch(actor: Actor, *, on: bool) -> None:
    """Switch it on or off; within seconds it is so. Whoever is there when it is switched off is cut off."""
    with catalog.write():
        before = wanted()
        options.put(OPTION, on)
        message = f"{actor.name} switched the SSH server {'on' if on else 'off'}."
        record(EventKind.SETTINGS_CHANGED, message, actor, before={"ssh_server": before}, after={"ssh_server": on})


def host_key() -> dict[str, str]:
    """The server's own key, and the certificate by which it is known."""
    key, certificate = ssh_authority.server_key(now())
    return {"key": key, "certificate": certificate}


def admit(key: str, settings: Settings) -> Admission | None:
    """What a key (type and base64 text), or a certificate of ours, opens now; None: nothing, or nobody has it."""
    if not key.isascii():
        return None
    principal = ssh_authority.principal(key, now())
    if principal is not None:
        people, known = {principal}, ""
        authorised = f'cert-authority,principals="{ssh_authority.name_of(principal)}",{OPTIONS}'
        shown = ssh_authority.user_authority()
    else:
        people, known, authorised, shown = ssh_keys.holders([key]).get(key, set()), key, OPTIONS, key
    held = machines.held_by(_let_in(people))
    if not held:
        return None
    permitted = ",".join(f'permitopen="{settings.address(slot)}:{PORT}"' for _, _, slot in held)
    return Admission(known, frozenset((id, owner) for id, owner, _ in held), f"{authorised},{permitted} {shown}")


def reached_by(account_id: int, settings: Settings) -> list[tuple[str, str]]:
    """The machines in use that somebody holds: the name of their account there, and the address."""
    found = machines.with_ids(id for id, _, _ in machines.held_by([account_id]))
    return [(machine.machine_class.spec["user"], settings.address(machine.slot)) for machine in found]


def good(admissions: Iterable[Admission]) -> set[Admission]:
    """Those of which everything still holds: sshd goes by what it was told once, and an address may be another machine's next."""
    asked = set(admissions)
    opens = {pair for one in asked for pair in one.opens}
    states = [state for state in machines.HELD if state is not MachineState.REPROVISIONING]
    owners = machines.owners_of({id for id, _ in opens}, states)
    people = _let_in({owner for _, owner in opens})
    holders = ssh_keys.holders({one.key for one in asked if one.key})

    def holds(one: Admission) -> bool:
        mine = all(owners.get(id) == owner and owner in people for id, owner in one.opens)
        return mine and (not one.key or {owner for _, owner in one.opens} <= holders.get(one.key, set()))

    return {one for one in asked if holds(one)}


def _let_in(people: Iterable[int]) -> set[int]:
    """Those who would be let in by the page, too."""
    able = ssh_keys.able(people)
    return able - set(second_factor.missing(able))


def note_used(fingerprint: str) -> None:
    """Somebody signed in with the key that has this fingerprint."""
    with catalog.write():
        ssh_keys.used([row.id for row in ssh_keys.everybodys() if keys.fingerprint(row.key) == fingerprint])


def certificate(actor: Actor, key: str) -> str:
    """A certificate for a key of the actor's program: for ten minutes it opens what they hold. Raises BadInput."""
    assert actor.account_id is not None
    [*lines] = keys.parse(key, field="public_key")
    if len(lines) != 1:
        raise BadInput("One key is signed at a time.", "Send one line.", field="public_key")
    return ssh_authority.sign_user(lines[0], actor.account_id, now())
