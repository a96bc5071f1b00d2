"""`dpe inventory`: your machines as an inventory of Ansible's, by class and by state."""

import json
import shlex
from typing import Any

import click

from dpe import output
from dpe.cli import Context
from dpe.console import ssh_options


def ansible(context: Context, machines: list[dict[str, Any]]) -> dict[str, Any]:
    """What Ansible takes from a script that it calls with --list; connections go through the appliance, as `dpe ssh` does."""
    hosts = {one["name"]: _variables(context, one) for one in machines}
    groups: dict[str, Any] = {}
    for one in machines:
        for group in (f"class_{one['class']}", f"state_{one['state']}"):
            name = "".join(letter if letter.isalnum() else "_" for letter in group)
            groups.setdefault(name, {"hosts": []})["hosts"].append(one["name"])
    return {**groups, "all": {"children": sorted(groups)}, "_meta": {"hostvars": hosts}}


def _variables(context: Context, machine: dict[str, Any]) -> dict[str, Any]:
    return {
        "ansible_host": machine["name"],
        "ansible_user": machine["user"],
        "ansible_ssh_common_args": shlex.join(ssh_options(context, machine)),
        **{f"dpe_{name}": machine[name] for name in ("id", "class", "state", "url", "lease_ends_at")},
    }


@click.command()
@click.option("--list", "all_of_them", is_flag=True, help="Print all machines, as Ansible asks for them.")
@click.option("--host", default="", metavar="NAME", help="Print the variables of one machine.")
@click.pass_obj
def inventory(context: Context, all_of_them: bool, host: str) -> None:
    """Print your machines as an Ansible inventory."""
    found = ansible(context, [one for one in context.client.machines() if one["state"] == "in_use"])
    if host:
        click.echo(json.dumps(found["_meta"]["hostvars"].get(host, {})))
        return
    if not all_of_them:
        output.note("Ansible calls this with --list.")
    click.echo(json.dumps(found, indent=2))
