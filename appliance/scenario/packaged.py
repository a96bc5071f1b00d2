"""An application made of Debian packages and a shell script, for who has no Ansible: the files that it comes to, and back."""

from pathlib import Path
from typing import Any

import yaml
from pydantic import Field

from appliance.scenario import applications
from appliance.scenario.applications import Manifest
from appliance.scenario.schema import Icon, Os, Package
from appliance.scenario.tree import File, Tree
from appliance.yamlfile import Part, Source

SCRIPT = "files/install"
SHEBANG = "#!/bin/sh\nset -eu\n"  # of a script that says nothing else
LONGEST = 64 << 10  # characters of a script
UNKNOWN = "NOASSERTION"  # of the list of SPDX: nobody has said
_TASKS = [
    {
        "name": "Carry out its script",
        "ansible.builtin.script": {"cmd": "install"},
        "environment": {"DPE_PORT": "{{ application.port | default('', true) }}", "DPE_USER": "{{ spec.user }}"},
        "changed_when": True,
    }
]
_NO_TASKS = [{"name": "Have nothing besides its packages", "ansible.builtin.meta": "noop"}]


class Packaged(Part):
    """What it is made of."""

    title: str = Field(min_length=1, max_length=60)
    description: str = Field(min_length=1, max_length=400)
    icon: Icon = Field(default="package")
    licence: str = Field(default=UNKNOWN, min_length=1, max_length=60)
    releases: list[Os] = Field(min_length=1)
    packages: list[Package] = Field(default=[])
    script: str = Field(default="", max_length=LONGEST)
    port: int | None = Field(default=None, ge=1, le=65535)
    memory: int = Field(default=64, ge=0, le=65536)
    disk: int = Field(default=1, ge=0, le=1024)


def files(made: Packaged) -> Tree:
    """The application's files."""
    about: dict[str, Any] = {
        "title": made.title,
        "description": made.description,
        "icon": made.icon,
        "licence": made.licence,
        "releases": list(made.releases),
        "access": "none" if made.port is None else "web",
        **({} if made.port is None else {"web": {"port": made.port}}),
        "needs": {"memory": made.memory, "disk": made.disk},
        "packages": list(made.packages),
    }
    found = {applications.MAIN: _yaml(about), "tasks/main.yml": _yaml(_TASKS if made.script else _NO_TASKS)}
    if made.script:
        text = made.script.replace("\r\n", "\n").replace("\r", "\n")
        text = text if text.endswith("\n") else text + "\n"
        found[SCRIPT] = File((text if text.startswith("#!") else SHEBANG + text).encode(), executable=True)
    return found


def _yaml(value: Any) -> File:
    return File(yaml.safe_dump(value, sort_keys=False, allow_unicode=True).encode())


def read(found: Tree) -> Packaged | None:
    """What these files were made of; None where they say anything that cannot be said so."""
    if applications.MAIN not in found:
        return None
    about = Source(Path(applications.MAIN), Manifest, found[applications.MAIN].content).validate()
    if about is None:
        return None
    script = found[SCRIPT].content.decode(errors="replace").removeprefix(SHEBANG) if SCRIPT in found else ""
    made = Packaged.model_construct(
        **{name: getattr(about, name) for name in ("title", "description", "icon", "licence", "releases", "packages")},
        script=script,
        port=about.web.port if about.web else None,
        memory=about.needs.memory,
        disk=about.needs.disk,
    )
    return made if files(made) == found else None
