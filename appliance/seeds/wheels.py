"""Where Python packages come from: what pip is told on this host, so that roles find the same."""

import ast
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote, urlsplit

from appliance.errors import CommandFailed
from appliance.packages.sources import host_of
from appliance.run import run

PLACES = ("index-url", "extra-index-url", "find-links")
TOLD = (*PLACES, "no-index", "timeout", "trusted-host")


@dataclass(frozen=True)
class Index:
    """Where pip looks: hosts as `host:port`, files and folders of this host, and the environment that says so to another pip."""

    hosts: list[str]
    paths: list[Path]
    environment: Mapping[str, str] = field(default_factory=dict)


def index() -> Index:
    """What pip is told by its files and our environment."""
    try:
        said = run([sys.executable, "-m", "pip", "config", "list"]).splitlines()
    except CommandFailed:  # it is told nothing then
        said = []
    told: dict[str, str] = {}
    for line in said:
        key, _, value = line.partition("=")
        section, _, name = key.rpartition(".")
        if section in ("global", "download", ":env:") and name in TOLD:
            told[name] = str(ast.literal_eval(value))
    places = [place for name in PLACES for place in told.get(name, "").split()]
    ours = [] if "index-url" in told else _where_pip_looks()
    hosts = sorted({*ours, *(host for place in places for host in host_of(place))})
    local = [Path(unquote(urlsplit(place).path) if place.startswith("file:") else place) for place in places if not host_of(place)]
    local = [path.parent if path.name == "simple" else path for path in local]  # an index leads to files beside it
    environment = {f"PIP_{name.upper().replace('-', '_')}": value for name, value in told.items()}
    return Index(hosts, [path for path in local if path.is_absolute() and path.exists()], environment)


def _where_pip_looks() -> list[str]:
    """Where it looks when it is told nothing; nowhere when there is no pip, which is then said by what needs it."""
    try:
        from pip._internal.models.index import PyPI
    except ImportError:
        return []
    return [f"{PyPI.netloc}:443", f"{PyPI.file_storage_domain}:443"]
