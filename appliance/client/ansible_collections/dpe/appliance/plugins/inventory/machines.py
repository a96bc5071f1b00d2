"""An inventory of Ansible's: the machines of whoever `dpe login` signed in, or the environment says."""

from typing import Any

from ansible.errors import AnsibleParserError
from ansible.plugins.inventory import BaseInventoryPlugin, Constructable

from dpe.cli import Context
from dpe.errors import ClientError
from dpe.inventory import held, variables

DOCUMENTATION = """
name: machines
short_description: Machines of a DPE Appliance
description:
  - The machines that you hold, reached by SSH through the appliance.
  - Each has the variables dpe_id, dpe_class, dpe_state, dpe_url and dpe_lease_ends_at, and is in the groups class_CLASS and state_STATE.
options:
  plugin:
    description: The name of this plugin.
    required: true
    choices: [dpe.appliance.machines]
  address:
    description: The appliance that is meant, of those you are signed in to; else the last.
    default: ""
extends_documentation_fragment: [constructed]
"""


class InventoryModule(BaseInventoryPlugin, Constructable):  # type: ignore[misc]
    """As Ansible calls it."""

    NAME = "dpe.appliance.machines"

    def verify_file(self, path: str) -> bool:
        """Whether a file is one of ours: NAME.dpe.yml."""
        return bool(super().verify_file(path)) and path.endswith((".dpe.yml", ".dpe.yaml"))

    def parse(self, inventory: Any, loader: Any, path: str, cache: bool = True) -> None:  # noqa: FBT002 - as Ansible has it
        """Fill the inventory. Raises AnsibleParserError."""
        super().parse(inventory, loader, path, cache)
        self._read_config_data(path)
        context, strict = Context(self.get_option("address")), self.get_option("strict")
        try:
            machines = held(context)
        except ClientError as error:
            raise AnsibleParserError(f"{error.message} {error.hint}") from error
        for machine in machines:
            known = variables(context, machine, "dpe")
            inventory.add_host(machine["name"])
            for name, value in known.items():
                inventory.set_variable(machine["name"], name, value)
            for group in known["dpe_groups"]:
                inventory.add_child(inventory.add_group(group), machine["name"])
            self._set_composite_vars(self.get_option("compose"), known, machine["name"], strict=strict)
            self._add_host_to_composed_groups(self.get_option("groups"), known, machine["name"], strict=strict)
            self._add_host_to_keyed_groups(self.get_option("keyed_groups"), known, machine["name"], strict=strict)
