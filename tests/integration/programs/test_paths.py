"""Whoever has the catalog or the socket can put any text into a name; what root does by it stays where it belongs."""

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest

from appliance import catalog, layout
from appliance.host.interface import system
from appliance.host.rpc.client import Client
from appliance.settings import Settings, load
from tests.hosted import serving

pytestmark = pytest.mark.hostile


ASK = """
import json, socket, sys
line = socket.socket(socket.AF_UNIX); line.connect(sys.argv[1])
line.sendall(json.dumps({"verb": sys.argv[2], "args": json.loads(sys.argv[3]), "by": "web"}).encode() + b"\\n")
print(line.makefile().readline())
"""


def as_the_web_process(settings: Settings, verb: str, **args: str) -> dict[str, Any]:
    """The answer to a process that has the socket's group, and is not root."""
    command = [sys.executable, "-S", "-c", ASK, str(settings.host_socket), verb, json.dumps(args)]
    group = settings.host_socket.stat().st_gid
    return dict(json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True, user=65534, group=group, extra_groups=[]).stdout))


def test_the_web_process_is_told_no_new_password() -> None:
    """It has the socket, but is not root: only the screen's menu is told, and nothing is changed."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o711)
        settings = load({}, state=Path(folder) / "s")
        layout.prepare(settings)
        catalog.open(settings.catalog)
        with catalog.write():
            catalog.options.put("setup_done", True)
            grace = catalog.Account.create(name="grace", password="!")
            catalog.Grant.create(role="owner", account=grace.id)
        catalog.close()
        with serving(settings):
            answer = as_the_web_process(settings, "admins.reset", name="grace")
            assert (answer["kind"], "own screen" in answer["error"], "result" in answer) == ("NotAllowed", True, False)
            assert as_the_web_process(settings, "admins.owners")["kind"] == "NotAllowed"
            catalog.attach(settings.catalog)
            assert catalog.Account.get().password == "!"
            catalog.close()
            told = Client(settings, "screen").call(system.RESET_PASSWORD, system.NewPassword(name="grace"))
            assert told.name == "grace"
            assert len(told.password) > 10
