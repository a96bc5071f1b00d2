#!/usr/bin/python
"""Ansible module: one action for a batch of machines. All it does is in appliance.hypervisor."""

DOCUMENTATION = """
---
module: dpe_machines
short_description: Do one action to a batch of machines
description:
  - Clones, starts, waits for or destroys machines on the appliance's hypervisor, several at a time.
  - Every action may be repeated, and adopts what an earlier try left.
  - A machine that fails does not fail the others, nor the task; what became of each is in C(machines).
  - Must run under the Python that has the appliance installed, on the appliance itself.
options:
  machines:
    description: The machines, each as C(to_json) of the appliance's C(MachineSpec) gives it.
    type: list
    elements: dict
    required: true
  action:
    description: What to do.
    type: str
    choices: [clone, start, wait, destroy]
    required: true
  state:
    description: The appliance's state directory. Its other settings come from settings.toml in it and from the environment.
    type: path
    required: true
"""

EXAMPLES = """
- name: Clone the disks
  dpe_machines: { action: clone, machines: "{{ machines }}", state: "{{ state }}" }
  register: cloned

- name: Start them
  dpe_machines: { action: start, machines: "{{ machines }}", state: "{{ state }}" }
"""

RETURN = """
machines:
  description: By machine id, whether it went well, what went wrong, what to do about it, and how many seconds it took.
  returned: always
  type: dict
  sample: {"6b1c...": {"ok": false, "error": "The disk is full.", "hint": "Make room.", "seconds": 0.2}}
msg:
  description: One line about what happened, with every error.
  returned: always
  type: str
"""

from dataclasses import asdict  # noqa: E402

from ansible.module_utils.basic import AnsibleModule  # noqa: E402

from appliance import settings  # noqa: E402
from appliance.errors import DpeError  # noqa: E402
from appliance.hypervisor.batch import Action, perform  # noqa: E402
from appliance.hypervisor.provider import MachineSpec  # noqa: E402
from appliance.hypervisor.providers import open_provider  # noqa: E402


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "machines": {"type": "list", "elements": "dict", "required": True},
            "action": {"type": "str", "choices": [action.value for action in Action], "required": True},
            "state": {"type": "path", "required": True},
        }
    )
    action = Action(module.params["action"])
    try:
        loaded = settings.load(state=module.params["state"])
        specs = [MachineSpec.from_json(machine) for machine in module.params["machines"]]
        provider = open_provider(loaded)
        try:
            outcomes = perform(provider, action, specs, parallel=loaded.parallel)
        finally:
            provider.close()
    except (DpeError, ValueError) as error:
        module.fail_json(msg=str(error))
    machines = {outcome.id: {key: value for key, value in asdict(outcome).items() if key != "id"} for outcome in outcomes}
    well = [outcome for outcome in outcomes if outcome.ok]
    errors = [f"{outcome.error} {outcome.hint}".rstrip() for outcome in outcomes if not outcome.ok]
    module.exit_json(
        changed=bool(well),
        machines=machines,
        msg=" ".join([f"{action.value}: {len(well)} of {len(machines)} machines went well.", *errors]),
    )


if __name__ == "__main__":
    main()
