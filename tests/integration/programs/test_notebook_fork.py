"""What makes a forked JupyterLab's secrets its own: the hook finds the server, and the server replaces its secret while it runs."""

import json
import subprocess
import sys
from pathlib import Path

import jinja2
import pytest

from appliance.settings import REPOSITORY

ROLE = REPOSITORY / "playbooks/applications/jupyterlab"

# A server with what the configuration uses of Jupyter's own; it says its secrets, and takes one signal.
SERVER = """
import json, os, random, signal, sys, types
from pathlib import Path

class ServerApp:
    cookie_secret_file = "secret"
    cookie_secret = b"the snapshot's"
    web_app = types.SimpleNamespace(settings={"cookie_secret": cookie_secret})
    instance = classmethod(lambda cls: app)

    def _default_cookie_secret(self):  # as in Jupyter: an existing file counts
        if not Path("secret").exists():
            Path("secret").write_bytes(os.urandom(32))
        return Path("secret").read_bytes()

app = ServerApp()
Path("secret").write_bytes(app.cookie_secret)
sys.modules["jupyter_server"] = types.ModuleType("jupyter_server")
sys.modules["jupyter_server.serverapp"] = types.SimpleNamespace(ServerApp=ServerApp)

class Anything:
    def __getattr__(self, name):
        self.__dict__[name] = Anything()
        return self.__dict__[name]

def config():
    exec(Path("config.py").read_text(), {"c": Anything()})

config()
config()  # each of Jupyter's applications reads it
signal.signal(signal.SIGUSR1, signal.SIG_DFL)  # Jupyter sets that one itself
random.seed(7)
Path(f"jpserver-{os.getpid()}-open.html").touch()
Path(f"jpserver-{os.getpid()}.json").touch()
print("up", flush=True)
sys.stdin.readline()
print(json.dumps([app.cookie_secret.hex(), app.web_app.settings["cookie_secret"].hex(), Path("secret").read_bytes().hex(), random.random()]))
"""


@pytest.fixture
def configuration() -> str:
    template = jinja2.Environment(autoescape=False).from_string((ROLE / "templates/jupyter_server_config.py").read_text())
    return template.render(spec={"user": "user"}, application={"port": 8888, "options": {"terminal": True}})


def renew(folder: Path) -> subprocess.CompletedProcess[str]:
    hook = (ROLE / "files/renew").read_text().replace("/run/jupyter", str(folder))
    return subprocess.run(["sh", "-c", hook], capture_output=True, text=True, timeout=20)


def test_two_forks_of_a_running_server_share_no_secret(tmp_path: Path, configuration: str) -> None:
    told = []
    for name in ("one", "other"):
        folder = tmp_path / name
        folder.mkdir()
        (folder / "config.py").write_text(configuration)
        with subprocess.Popen(
            [sys.executable, "-c", SERVER], cwd=folder, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as server:
            assert server.stdin
            assert server.stdout
            assert server.stdout.readline() == "up\n"
            done = renew(folder)
            assert (done.returncode, done.stderr) == (0, "")
            out, _ = server.communicate("\n", timeout=20)
            assert server.returncode == 0
        told.append(json.loads(out))
    for application, in_use, kept, _ in told:
        assert application == in_use == kept != b"the snapshot's".hex()
    assert told[0][0] != told[1][0]
    assert told[0][3] != told[1][3]  # nor what Python's own random generator gives next


def test_a_server_that_is_not_up_yet_is_left_alone(tmp_path: Path) -> None:
    assert renew(tmp_path).returncode == 0


@pytest.mark.badinput
def test_a_server_that_cannot_be_told_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "jpserver-4194305.json").touch()  # beyond any process id
    assert renew(tmp_path).returncode != 0
