"""What all the steps that touch machines need."""

from datetime import timedelta

from appliance import catalog
from appliance.catalog import Account, Machine, machines, now
from appliance.catalog import ssh_keys as key_rows
from appliance.errors import Conflict, Unavailable
from appliance.hypervisor.provider import Provider
from appliance.identity import ssh_keys
from appliance.seeds import guest
from appliance.workflow.runner import Context, Wait

SOON = timedelta(seconds=2)  # after which a hypervisor that is away is asked again


def away(provider: Provider) -> Wait | None:
    """To wait, when the step failed because the hypervisor is not there, which is no fault of its machine."""
    try:
        provider.list()
    except Unavailable as error:
        return Wait(now() + SOON, f"the hypervisor is away: {error.message}")
    return None


def machine_of(step: Context) -> Machine:
    """The machine of a step's run, as it is now."""
    machine = machines.by_id(step.run.machine_id or "")
    if machine is None:
        raise Conflict("There is no such machine any more.")
    return machine


def personal(machine: Machine, owner: Account | None = None) -> bytes:
    """What a machine that somebody holds is told of its owner, or of whoever is to be."""
    owner = owner or machine.owner
    assert owner is not None
    return guest.personalise_input(
        user=machine.machine_class.spec["user"],
        full_name=owner.full_name or owner.name,
        owner=owner.name,
        ssh_keys=ssh_keys.usable(key_rows.text(owner.id)),
    )


def note_step(id: str, text: str) -> None:
    """Say what is being done to a machine."""
    with catalog.write():
        Machine.update(step=text).where(Machine.id == id).execute()
