"""The manifest: every package in the image with version and licence, as CycloneDX."""

import json
import re
import uuid
from collections.abc import Iterator, Sequence
from email import message_from_string
from pathlib import Path
from typing import Any

from appliance.host.interface.system import Image
from appliance.seeds.build import SeedFiles
from appliance.settings import REPOSITORY
from tools import inside

Component = dict[str, Any]


def describe(tree: Path, venv: Path, seeds: Sequence[SeedFiles], image: Image) -> dict[str, Any]:
    """The document, the same for the same content."""
    components = [*debian(tree), *python(venv), *assets()]
    for seed in seeds:
        components.append(guest(seed))
    name = f"dpe-{image.scenario}"
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_OID, json.dumps([name, image.version, components]))}",
        "version": 1,
        "metadata": {
            "timestamp": image.built_at.isoformat(),
            "component": {"type": "firmware", "bom-ref": name, "name": name, "version": image.version},
        },
        "components": components,
    }


def _component(kind: str, name: str, version: str, purl: str, licences: Sequence[str]) -> Component:
    named = [{"license": {"name": each}} for each in licences]
    return {"type": kind, "bom-ref": purl, "name": name, "version": version, "purl": purl, "licenses": named}


def debian(tree: Path) -> Iterator[Component]:
    """Debian's packages, licences as their copyright files name them."""
    fields = "${Package} ${Version} ${Architecture} ${source:Package}\n"
    database = "/usr/lib/sysimage/dpkg"
    for line in inside(tree, ["dpkg-query", f"--admindir={database}", "--show", f"--showformat={fields}"]).splitlines():
        name, version, architecture, source = line.split()
        component = _component(
            "library", name, version, f"pkg:deb/debian/{name}@{version}?arch={architecture}", copyrights(tree / "usr/share/doc" / name)
        )
        yield {**component, "properties": [{"name": "debian:source", "value": source}]}


# How texts that name no licence in a field say which it is.
SPOKEN = {
    r"Redistribution and use in binary form, without\s+modification": "redistributable",  # of a package whose packaging alone is GPL
    r"free\s+of any license fees": "redistributable",
    r"common-licenses/(\S+?)[.,;:'\"`)]*\s": r"\1",
    r"Permission is hereby granted, free of charge": "MIT",
    r"Redistribution and use in source and binary forms": "BSD",
    r"public domain": "public-domain",
    r"GNU (?:Lesser|Library) General Public License": "LGPL",
    r"GNU General Public License": "GPL",
    r"GPL": "GPL",
}


def copyrights(folder: Path) -> list[str]:
    """The licences that a package's copyright file names; empty when it names none that we understand."""
    file = folder / "copyright"
    if not file.is_file():
        return []
    text = file.read_text(errors="replace")
    if named := re.findall(r"^License:[ \t]*(\S.*)$", text, re.MULTILINE):
        return sorted({each.strip() for each in named})
    return spoken(text)


def spoken(text: str) -> list[str]:
    """The licences that a text which names none in a field speaks of."""
    for pattern, name in SPOKEN.items():
        if found := {match.expand(name) for match in re.finditer(pattern, text)}:
            return sorted(found)
    return []


def python(venv: Path) -> Iterator[Component]:
    """Python packages, licences as their metadata names them."""
    for file in sorted(venv.glob("lib/python3*/site-packages/*.dist-info/METADATA")):
        about = message_from_string(file.read_text(errors="replace"))
        classifiers = [each.split(" :: ")[-1] for each in about.get_all("Classifier", []) if each.startswith("License :: ")]
        licences = [about["License-Expression"]] if about.get("License-Expression") else classifiers
        licences = licences or about.get("License", "").strip().splitlines()[:1]
        if not licences:
            texts = [text for pattern in ("LICENSE*", "licenses/*") for text in file.parent.glob(pattern) if text.is_file()]
            licences = sorted({each for text in texts for each in spoken(text.read_text(errors="replace"))})
        name = re.sub(r"[-_.]+", "-", about["Name"]).lower()
        yield _component("library", about["Name"], about["Version"], f"pkg:pypi/{name}@{about['Version']}", licences)


def assets() -> Iterator[Component]:
    """What the web page brings along for browsers."""
    lock = json.loads((REPOSITORY / "webui/package-lock.json").read_text())["packages"]
    for path, entry in sorted(lock.items()):
        name = path.removeprefix("node_modules/")
        if path and any((REPOSITORY / "webui/static/vendor").glob(f"*-{entry['version']}")):
            yield _component(
                "library", name, entry["version"], f"pkg:npm/{name.replace('@', '%40')}@{entry['version']}", [entry.get("license", "")]
            )


def guest(seed: SeedFiles) -> Component:
    """A seed: the disk of a machine, and the packages in it."""
    manifest = seed.manifest
    name = f"seed-{manifest['class']}"
    packages = [
        {
            "type": "library",
            "bom-ref": f"{name}/{package}",
            "name": package,
            "version": version,
            "purl": f"pkg:deb/debian/{package}@{version}",
        }
        for package, version in sorted(manifest["packages"].items())
    ]
    return {
        "type": "operating-system",
        "bom-ref": name,
        "name": f"{name} ({manifest['os']})",
        "version": manifest["built"],
        "hashes": [{"alg": "SHA-256", "content": manifest["files"]["disk.qcow2"]["sha256"]}],
        "components": packages,
    }
