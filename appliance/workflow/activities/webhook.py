"""A webhook as a step: called under a name that is the same at each try, and answered at once or later."""

from datetime import datetime
from typing import Any
from urllib.parse import urlsplit

from appliance.catalog import Account, Machine, Step, machines, runs
from appliance.connect import AddressRefused
from appliance.errors import BadInput, Unavailable
from appliance.outbound import webhook
from appliance.outbound.webhook import Asking
from appliance.workflow.kinds import Webhook, duration
from appliance.workflow.runner import Context, Decide, Done, Failed, Outcome, Wait


def call(step: Context, options: Webhook) -> Outcome:
    """Call, and go by the answer. Raises Unavailable while the receiver is away; what it refuses fails at once."""
    if options.answer == "later" and _output(step):  # the receiver has been called
        return Decide(lambda: _judge(step, options))
    try:
        payload = _payload(step, options)
        answer = webhook.send(options.url, payload, id=webhook.id_of(_asking(step)))
    except (AddressRefused, BadInput) as error:
        return Failed(error)
    if (refusal := _refusal(options, answer.data)) is not None:
        return refusal
    if options.answer == "now":
        return Done({"status": answer.status, "answer": answer.data})
    return Decide(lambda: _judge(step, options))


def _judge(step: Context, options: Webhook) -> Done | Wait | Failed:
    """In the transaction that keeps what became of it, so that an answer that has just come is seen."""
    output = _output(step)
    if "answer" in output:
        return _refusal(options, output["answer"]) or Done(output)
    called_at = output.get("called_at") or step.now.isoformat()
    until = datetime.fromisoformat(called_at) + duration(options.within)
    if until <= step.now:
        return Failed(Unavailable(f"{_host(options)} did not answer within {options.within}.", "Look at its log, then try again."))
    return Wait(until, f"{_host(options)} is to answer", commit=lambda: _note(step, {**output, "called_at": called_at}))


def _refusal(options: Webhook, said: dict[str, Any]) -> Failed | None:
    if said.get("ok") is not False:
        return None
    reason = " ".join(str(said.get("reason") or "it does not say why").split())[:300]
    return Failed(AddressRefused(f"{_host(options)} says no: {reason}", "Ask those who look after it."))


def _output(step: Context) -> dict[str, Any]:
    row = runs.step(step.run.id, step.planned.number)
    return row.output if row is not None else {}


def _note(step: Context, output: dict[str, Any]) -> None:
    Step.update(output=output).where(Step.run == step.run.id, Step.number == step.planned.number).execute()


def _host(options: Webhook) -> str:
    return urlsplit(options.url).hostname or options.url


def _asking(step: Context) -> Asking:
    return Asking(step.run.id, step.planned.number, step.since)


def _payload(step: Context, options: Webhook) -> dict[str, Any]:
    run, planned = step.run, step.planned
    payload: dict[str, Any] = {
        "type": options.event or f"{run.kind}.{planned.part}",
        "timestamp": step.since.isoformat(),
        "data": {
            "run": run.id,
            "move": run.kind,
            "step": planned.name,
            "class": run.class_name,
            "machine": _machine(run.machine),
            "requester": _account(run.account),
        },
    }
    if options.answer == "later":
        payload["answer_to"] = webhook.callback(_asking(step))
    return payload


def _machine(machine: Machine | None) -> dict[str, Any] | None:
    if machine is None:
        return None
    lease = machines.lease_of(machine.id)
    return {
        "id": machine.id,
        "name": machine.name,
        "state": machine.state.value,
        "vcpus": machine.vcpus,
        "memory": machine.memory,
        "disk": machine.disk,
        "owner": _account(machine.owner),
        "lease_ends_at": lease.ends_at.isoformat() if lease else None,
    }


def _account(account: Account | None) -> dict[str, str] | None:
    return {"name": account.name, "full_name": account.full_name, "email": account.email} if account is not None else None
