"""Webhooks: the secret that they are signed with, whom they trust, and the answers that come later."""

import json
from datetime import datetime
from typing import Any

from appliance import catalog, connect
from appliance.catalog import Actor, EventKind, Step, StepState, doorbell, now, options, record, runs
from appliance.errors import BadInput, Conflict
from appliance.outbound import webhook

LARGEST = 64 << 10  # bytes of an answer


def state() -> dict[str, Any]:
    """What is known of webhooks: since when there is a secret, until when the one before it is good, and the authority trusted."""
    stored = options.get("webhooks")
    until = datetime.fromisoformat(stored["before_until"]) if stored.get("before") else None
    return {
        "since": datetime.fromisoformat(stored["since"]) if stored.get("secret") else None,
        "before_until": until if until and until > now() else None,
        "authority": stored.get("authority", ""),
    }


def new_secret(actor: Actor) -> str:
    """Sign with a new secret from now on, and for a day with the one before it as well. Returned only here."""
    secret = webhook.new_secret()
    with catalog.write():
        stored = options.get("webhooks")
        fresh = {"authority": stored.get("authority", ""), "secret": webhook.sealed(secret), "since": now().isoformat()}
        if stored.get("secret"):
            fresh |= {"before": stored["secret"], "before_until": (now() + webhook.OVERLAP).isoformat()}
        options.put("webhooks", fresh)
        record(EventKind.WEBHOOKS_SECRET, f"{actor.name} made a new secret for webhooks.", actor)
    return secret


def trust(actor: Actor, authority: str) -> None:
    """Trust this authority's certificates (PEM) when calling; empty for those that the system trusts. Raises BadInput."""
    authority = connect.check_authority(authority)
    with catalog.write():
        stored = options.get("webhooks")
        before = stored.get("authority", "")
        options.put("webhooks", {**stored, "authority": authority})
        record(
            EventKind.WEBHOOKS_AUTHORITY, f"{actor.name} changed whose certificates webhooks trust.", actor, before=before, after=authority
        )


def answer(token: str, body: bytes) -> None:
    """Keep the answer that a webhook's receiver gives later, and let the run go on. The same answer again changes nothing.

    Raises NotFound for a token that is none, BadInput for what is no JSON object, Conflict when the step waits for no answer or has
    another one.
    """
    asking = webhook.opened_by(token)
    run_id, number = asking.run_id, asking.number
    said = _object(body)
    with catalog.write():
        run, step = runs.by_id(run_id), runs.step(run_id, number)
        if run is None or step is None or step.started_at != asking.since:
            raise Conflict("Nothing waits for this answer any more.", "What asked for it is over, or asks anew.")
        if "answer" in step.output:
            if step.output["answer"] != said:
                raise Conflict("Another answer was given before.", "The first one counts.")
            return
        if run.ended_at is not None or run.cancel or run.position != number or step.state not in (StepState.RUNNING, StepState.WAITING):
            raise Conflict("Nothing waits for this answer any more.", "The run was cancelled, or went on without it.")
        Step.update(output={**step.output, "answer": said}).where(Step.run == run_id, Step.number == number).execute()
        runs.wake(id=run_id)
        record(
            EventKind.STEP_ANSWERED,
            f"{step.title}: answered from outside.",
            class_name=run.class_name,
            machine_id=run.machine_id,
            run=run_id,
        )
    doorbell.ring()


def _object(body: bytes) -> dict[str, Any]:
    if len(body) > LARGEST:
        raise BadInput(f"An answer has at most {LARGEST >> 10} KiB.", "Send less.")
    try:
        said = json.loads(body or b"{}")
    except (ValueError, RecursionError) as error:
        raise BadInput("The answer is no JSON.", 'Send an object such as {"ok": true}, or nothing for a yes.') from error
    if not isinstance(said, dict):
        raise BadInput("The answer is no JSON object.", 'Send one such as {"ok": true}.')
    if "ok" in said and not isinstance(said["ok"], bool):
        raise BadInput('In the answer "ok" is neither true nor false.', 'Send an object such as {"ok": true}.')
    return said
