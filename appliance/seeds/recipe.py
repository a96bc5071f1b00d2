"""What a seed is made from, as one digest: two seeds of the same recipe differ only in when Debian's packages were fetched."""

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path

from appliance.scenario import applications
from appliance.scenario.schema import ClassSpec
from appliance.seeds.play import PLAYBOOKS

OURS = ("seed.yml", "files", "plugins", "roles")


def digest(spec: ClassSpec, scenario: Path) -> str:
    """SHA-256 over what the class's machines are, as the scenario describes it, its applications, the scenario's roles, and our playbook with its own."""
    own = applications.own(scenario)
    spec = applications.resolved(spec, own)
    folders = [entry.folder for _, entry in applications.of(spec, own)]
    parts = (*(PLAYBOOKS / name for name in OURS), *folders, scenario / "roles")
    return _digest(json.dumps(spec.ingredients(), sort_keys=True), parts)


def ours() -> str:
    """The same over our playbook with its roles alone."""
    return _digest("", [PLAYBOOKS / name for name in OURS])


def _digest(text: str, parts: Iterable[Path]) -> str:
    made = hashlib.sha256(text.encode())
    for part in parts:
        # A role may be a link to another scenario's, which a pattern does not follow.
        for file in sorted(file for below in part.iterdir() for file in (below, *below.rglob("*"))) if part.is_dir() else [part]:
            if file.is_file() and "__pycache__" not in file.parts:
                made.update(f"\n{part.name}/{file.relative_to(part)}\n".encode() + hashlib.sha256(file.read_bytes()).digest())
    return made.hexdigest()
