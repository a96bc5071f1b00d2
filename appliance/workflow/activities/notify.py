"""E-mail as a step: nobody is kept waiting by it, and who gets it twice gets the same message."""

import re

from appliance.catalog import Account, Machine
from appliance.connect import AddressRefused
from appliance.identity.approvers import having
from appliance.outbound import address, mail
from appliance.workflow.kinds import Notify
from appliance.workflow.runner import Context, Done, Failed, Outcome


def notify(step: Context, options: Notify) -> Outcome:
    """Write to everybody. Raises Unavailable when the server is away; fails when nobody who has an address gets it."""
    path = _path(step, options)
    words = _words(step, path)
    text = _filled(options.text, words)
    below = "" if "{link}" in options.text else path
    sent = mail.mail_about(
        _whom(step, options), _filled(options.subject, words), text, id=f"run {step.name} {step.since.isoformat()}", path=below
    )
    if sent.refused and not sent.to:
        return Failed(AddressRefused(str(sent), "Mend the address, or let the sequence go on when this fails."))
    return Done({"said": str(sent), "to": sent.to})


def _whom(step: Context, options: Notify) -> list[str]:
    run = step.run
    match options.to:
        case "requester":
            found = [run.account]
        case "owner":
            found = [_owner(run.machine)]
        case "role":
            unit = run.account.org_unit_id if run.account else None
            ids = having(options.role, unit, run.class_name)
            found = list(Account.select().where(Account.id.in_(ids)).order_by(Account.id))
        case _:
            return options.addresses
    return [account.email for account in found if account is not None and not account.disabled]


def _owner(machine: Machine | None) -> Account | None:
    owner: Account | None = machine.owner if machine is not None else None
    return owner


def _path(step: Context, options: Notify) -> str:
    if options.to in ("requester", "owner") or step.run.machine_id is None:
        return "/"
    return f"/admin/machines/{step.run.machine_id}"


def _words(step: Context, path: str) -> dict[str, str]:
    run = step.run
    owner = _owner(run.machine)
    return {
        "machine": run.machine.name if run.machine else "a machine",
        "class": str(run.machine_class.spec.get("title") or run.class_name) if run.machine_class else "",
        "owner": _called(owner),
        "requester": _called(run.account),
        "run": str(run.id),
        "link": address.link(path),
    }


def _called(account: Account | None) -> str:
    return (account.full_name or account.name) if account is not None else "nobody"


def _filled(template: str, words: dict[str, str]) -> str:
    """The text with its placeholders filled in, once: what stands in a name is never read as a placeholder."""
    return re.sub(r"\{([^{}]*)\}", lambda found: words.get(found[1], found[0]), template)
