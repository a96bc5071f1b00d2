"""`dpe inventory`: your machines as an inventory of Ansible's, by class and by state."""

import json
import re
import shlex
import sys
from typing import Any

import click

from dpe import output
from dpe.cli import Context
from dpe.console import ssh_options


def held(context: Context) -> list[dict[str, Any]]:
    """The machines that can be used now."""
    return [one for one in context.client.machines() if one["state"] == "in_use"]


def ansible(context: Context) -> dict[str, Any]:
    """What Ansible takes from a script that it calls with --list; connections go through the appliance, as `dpe ssh` does."""
    hosts = {one["name"]: variables(context, one, sys.argv[0]) for one in held(context)}
    groups: dict[str, Any] = {}
    for name, known in hosts.items():
        for group in known["dpe_groups"]:
            groups.setdefault(group, {"hosts": []})["hosts"].append(name)
    return {**groups, "all": {"children": sorted(groups)}, "_meta": {"hostvars": hosts}}


def variables(context: Context, machine: dict[str, Any], command: str) -> dict[str, Any]:
    """What Ansible knows of a machine; `command` is what this command is called with."""
    groups = [re.sub(r"\W", "_", f"{kind}_{machine[kind]}") for kind in ("class", "state")]
    return {
        "ansible_host": machine["name"],
        "ansible_user": machine["user"],
        "ansible_ssh_common_args": shlex.join(ssh_options(context, machine, command)),
        "dpe_groups": groups,
        **{f"dpe_{name}": machine[name] for name in ("id", "class", "state", "url", "lease_ends_at")},
    }


@click.command()
@click.option("--list", "all_of_them", is_flag=True, help="Print all machines, as Ansible asks for them.")
@click.option("--host", default="", metavar="NAME", help="Print the variables of one machine.")
@click.pass_obj
def inventory(context: Context, all_of_them: bool, host: str) -> None:
    """Print your machines as an Ansible inventory."""
    found = ansible(context)
    if host:
        click.echo(json.dumps(found["_meta"]["hostvars"].get(host, {})))
        return
    if not all_of_them:
        output.note("Ansible calls this with --list.")
    click.echo(json.dumps(found, indent=2))
