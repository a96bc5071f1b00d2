"""The command as it is installed, from its wheel, in an environment of its own: through nginx, the web process and dpe-console to a real SSH server."""

import html
import json
import os
import re
import shlex
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement

from appliance import __version__, catalog
from appliance.access import tls
from appliance.catalog import Account, Actor, Class, Machine, MachineState, machines
from appliance.run import run, start
from appliance.services import tokens
from appliance.settings import REPOSITORY, Settings
from dpe import console
from dpe.client import Client
from tests import kept
from tests.bench.claim import Person, _ready, serving
from tests.terminal import Terminal
from tests.waiting import listens, until

pytestmark = pytest.mark.cli
CLIENT = REPOSITORY / "appliance/client"
SCRIPT = re.search(r"^```python\n(.*?)^```", (CLIENT / "README.md").read_text(), re.MULTILINE | re.DOTALL)[1]  # type: ignore[index]


def needed(name: str, found: set[str]) -> set[str]:
    """What a package needs to be installed beside it, all the way down."""
    for text in distribution(name).requires or ():
        one = Requirement(text)
        if (one.marker is None or one.marker.evaluate({"extra": ""})) and one.name not in found:
            found.add(one.name)
            needed(one.name, found)
    return found


PIP = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet"]


def build(folder: Path) -> None:
    """The wheel, as set-up makes it."""
    shutil.copytree(CLIENT, folder / "client", ignore=shutil.ignore_patterns("__pycache__", "*.egg-info", "build"))
    run([*PIP, "wheel", "--no-deps", "--no-build-isolation", "--no-index", "--wheel-dir", folder, folder / "client"], timeout=120)


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment with the wheel, and just what it asks for, from what is here: nothing is fetched."""
    try:
        distribution("keyring")
    except PackageNotFoundError:
        pytest.skip("make setup-test brings keyring")
    [wheel] = kept.kept("command", kept.digest(CLIENT, sys.version), build).glob("*.whl")
    return install(tmp_path_factory.mktemp("command") / "env", "--no-index", wheel)


def install(env: Path, *words: object) -> Path:
    """Have pip install the command so, into an environment that is made, and that has just what the command asks for besides."""
    run([sys.executable, "-m", "venv", "--without-pip", env])
    run([*PIP, "--python", env / "bin/python", "install", "--no-deps", "--no-compile", *words], timeout=120, env={"NO_PROXY": "*"})
    [packages] = env.glob("lib/python3*/site-packages")
    [metadata] = packages.glob("dpe-*.dist-info/METADATA")
    asked = {Requirement(text).name for text in re.findall("^Requires-Dist: (.*)$", metadata.read_text(), re.MULTILINE)}
    for name in asked | {inner for one in asked for inner in needed(one, set())}:
        for first in {file.parts[0] for file in distribution(name).files or ()} - {"..", "__pycache__"}:
            if not (packages / first).exists():
                (packages / first).symlink_to(Path(str(distribution(name).locate_file(first))))
    return env


@contextmanager
def running(computer: dict[str, str], *words: str) -> Iterator[subprocess.Popen[bytes]]:
    """A command that goes on; where the test fails it is ended, and what it said of it is told."""
    pipe = subprocess.PIPE
    with subprocess.Popen(words, env=computer, stdin=pipe, stdout=pipe, stderr=pipe) as process:
        try:
            yield process
        except BaseException:
            process.kill()
            assert process.stderr
            print(process.stderr.read().decode())
            raise


@pytest.fixture(scope="module")
def served() -> Iterator[Settings]:
    """The web page, dpe-console and the front door; machines have addresses of loopback, and an engine's part is done by a thread."""
    with serving("console", subnet="127.88.0.0/16") as settings:
        _ready(8)
        over = threading.Event()

        def engine() -> None:
            while not over.wait(0.05):
                for one in Machine.select().where(Machine.state == MachineState.ASSIGNED):
                    with catalog.write():
                        machines.change(one.id, [MachineState.ASSIGNED], MachineState.IN_USE)
            catalog.close()

        thread = threading.Thread(target=engine)
        thread.start()
        yield settings
        over.set()
        thread.join()


@pytest.fixture
def computer(installed: Path, served: Settings, tmp_path: Path) -> dict[str, str]:
    """The environment of somebody at another computer, with a home of their own and no keyring."""
    home = tmp_path / "home"
    home.mkdir()
    return {
        "PATH": f"{installed}/bin:{os.environ['PATH']}", "HOME": str(home), "DPE_CONFIG_DIR": str(home / "dpe"), "DPE_NO_KEYRING": "1",
        "APPLIANCE": f"https://127.0.0.1:{served.https_port}", "FINGERPRINT": tls.fingerprint(served.tls / "appliance.crt"),
        "LC_ALL": "C.UTF-8",
    }  # fmt: skip


@pytest.fixture
def sshd(served: Settings, tmp_path: Path) -> Iterator[int]:
    """A machine's SSH server: it listens at every machine's address; ~/.ssh of the computer has a key that it takes. Its port."""
    keys = tmp_path / "home/.ssh"
    keys.mkdir(mode=0o700, parents=True)
    for file in (tmp_path / "host", keys / "id_ed25519"):
        run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", file])
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    Path("/run/sshd").mkdir(exist_ok=True)
    (tmp_path / "config").write_text(
        "".join(f"ListenAddress {served.address(slot)}:{port}\n" for slot in range(4))
        + f"HostKey {tmp_path}/host\nAuthorizedKeysFile {keys}/id_ed25519.pub\nPidFile none\nPasswordAuthentication no\n"
        "KbdInteractiveAuthentication no\nPermitRootLogin yes\nStrictModes no\nUsePAM no\n"
    )
    process = start(["/usr/sbin/sshd", "-D", "-e", "-f", tmp_path / "config"])
    until(lambda: listens(port, served.address(0)))
    yield port
    process.kill()
    process.wait()


def approve(settings: Settings, code: str) -> None:
    """What a person does in a browser."""
    person = Person(settings, "person0")
    person.get(f"/device?code={code}")
    status, page = person.ask("POST", "/device/approve", {"code": code, "csrf_token": person.csrf})
    assert status == 200, page[:500]
    person.close()


def following(process: "subprocess.Popen[str]", settings: Settings) -> str:
    """All that the process says, while somebody approves the code that it shows."""
    said = ""
    assert process.stdout
    for line in process.stdout:
        said += line
        if found := re.search(r"\b[B-Z]{4}-[B-Z]{4}\b", line):
            approve(settings, found[0])
    return said


def dpe(computer: dict[str, str], *words: str, code: int = 0) -> str:
    done = subprocess.run(["dpe", *words], env=computer, capture_output=True, text=True, timeout=60)
    assert done.returncode == code, done.stderr + done.stdout
    return done.stdout


def signed_in(computer: dict[str, str]) -> None:
    """With a token that somebody has; how one is approved is the script's."""
    account = Account.get(Account.name == "person0")
    token = tokens.create(Actor(account.name, account.id), "dpe", ["read", "machines", "consoles"], 1)
    words = ["dpe", "login", computer["APPLIANCE"], "--fingerprint", computer["FINGERPRINT"], "--with-token"]
    subprocess.run(words, env=computer, input=token, text=True, check=True, timeout=60, stdout=subprocess.DEVNULL)


def test_the_appliance_offers_the_command_of_its_own_version(installed: Path, served: Settings, tmp_path: Path) -> None:
    """With what its page has for pipx, by pip, as that does it: from the appliance itself, whose certificate nobody signed."""
    person = Person(served, "person0")
    said = re.search("pipx install (.*?)</pre>", person.get("/docs/command-line").decode(), re.DOTALL)
    person.close()
    assert said
    address, options = shlex.split(html.unescape(said[1]))
    assert address.startswith(f"https://127.0.0.1:{served.https_port}/download/dpe-{__version__}-")
    trusted = options.removeprefix("--pip-args=").split()
    env = install(tmp_path / "env", *trusted, address)
    assert f" {__version__}" in run([env / "bin/dpe", "--version"]).splitlines()[0]


def test_the_script_of_the_readme_as_it_stands(computer: dict[str, str], served: Settings, sshd: int, tmp_path: Path) -> None:
    """Sign in, get a machine, wait, run a command in it by SSH, give it back."""
    assert len(SCRIPT.splitlines()) <= 30
    (tmp_path / "job.py").write_text(SCRIPT)
    words = [str(Path(shutil.which("dpe", path=computer["PATH"]) or "").parent / "python"), str(tmp_path / "job.py"), "small"]
    options = [
        "-p",
        str(sshd),
        "-i",
        str(tmp_path / "home/.ssh/id_ed25519"),
        "-o",
        f"UserKnownHostsFile={tmp_path}/known",
    ]  # not this user's own
    Class.update(spec={**Class.get().spec, "user": "root"}).execute()
    with subprocess.Popen(
        [*words, *options, "echo", "done in", "$SSH_CONNECTION"],
        env=computer,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        said = following(process, served)
    assert process.returncode == 0, said
    assert f"{served.address(0)} {sshd}" in said
    assert dpe(computer, "list") == ""
    [gone] = Machine.select().where(Machine.state == MachineState.RECLAIMING)
    assert gone.owner.name == "person0"


SHELLS = {"bash": ["bash", "--noprofile", "-i"], "zsh": ["zsh", "-d", "-i"], "fish": ["fish", "-i"]}
BEGIN = {  # what such a shell's file of its person has before our line; a prompt that is known, and nothing in grey that was not typed
    "bash": (".bashrc", "PS1='ready> '\n"),
    "zsh": (".zshrc", "PS1='ready> '\nautoload -Uz compinit && compinit -D\n"),
    "fish": (
        ".config/fish/config.fish",
        "set -g fish_autosuggestion_enabled 0\nset -g fish_greeting\nfunction fish_prompt; printf 'ready> '; end\n",
    ),
}


@pytest.mark.parametrize("shell", SHELLS)
def test_a_shell_completes_commands_options_and_names_of_machines(computer: dict[str, str], shell: str) -> None:
    """In the shell itself, by its tabulator key, with the line that the README has for it."""
    signed_in(computer)
    held = Machine.select().where(Machine.owner == Account.get(Account.name == "person0"), Machine.state == MachineState.IN_USE)
    names = [machine.name for machine in held] or [dpe(computer, "get", "small").split("\t")[0]]
    if names[1:]:
        dpe(computer, "release", *names[1:], "--yes")
    [line] = re.findall(rf"^    (.*dpe completion {shell}\b.*?)(?: +#.*)?$", (CLIENT / "README.md").read_text(), re.MULTILINE)
    home = Path(computer["HOME"])
    file, begin = BEGIN[shell]
    (home / ".config/fish/completions").mkdir(parents=True)
    if shell == "fish":
        subprocess.run(["sh", "-c", line], env=computer, check=True, timeout=60)
    (home / file).write_text(begin + (f"{line}\n" if shell != "fish" else ""))
    with Terminal(SHELLS[shell], computer) as there:
        there.until("ready>")  # what comes is looked for without it: fish 4 draws its line in pieces
        there.press("dpe rele", "tab")
        there.until("dpe release")
        there.press("sm", "tab")
        there.until(f"dpe release {names[0]}")
        there.press("--y", "tab")
        there.until(f"dpe release {names[0]} --yes")


def test_streams_of_a_machine_end_with_the_token(computer: dict[str, str], served: Settings) -> None:
    signed_in(computer)
    name = dpe(computer, "get", "small").split("\t")[0]
    machine = Machine.get(Machine.number == int(name.rpartition("-")[2]))
    with socket.create_server((served.address(machine.slot), 0)) as server:
        server.settimeout(60)
        port = str(server.getsockname()[1])
        with running(computer, "dpe", "proxy", name, port) as process:
            assert process.stdin
            assert process.stdout
            line, _ = server.accept()
            with line:
                process.stdin.write(b"\0 from the person \xff")
                process.stdin.flush()
                assert line.recv(100) == b"\0 from the person \xff"
                line.sendall(b"\0 from the machine \xff")
                assert os.read(process.stdout.fileno(), 100) == b"\0 from the machine \xff"
                with catalog.write():
                    catalog.Token.delete().where(catalog.Token.account == Account.get(Account.name == "person0")).execute()
                assert line.recv(1) == b"", "the machine's side is cut"
            assert process.stderr
            assert "You are signed out." in process.stderr.read().decode()
            assert process.wait(10) == 1


def test_the_serial_line_is_shown_and_typed_into(computer: dict[str, str], served: Settings) -> None:
    signed_in(computer)
    name = dpe(computer, "get", "small").split("\t")[0]
    machine = Machine.get(Machine.number == int(name.rpartition("-")[2]))
    place = served.serial_line(machine.id)
    place.parent.mkdir(parents=True, exist_ok=True)
    with socket.socket(socket.AF_UNIX) as server:
        server.settimeout(10)
        server.bind(str(place))
        shutil.chown(place, group="dpe-web")
        place.chmod(0o770)
        server.listen()
        with running(computer, "dpe", "console", name) as process:
            assert process.stdin
            assert process.stdout
            line, _ = server.accept()
            with line:
                line.sendall(b"login: ")
                assert os.read(process.stdout.fileno(), 100) == b"login: "
                process.stdin.write(b"ada\r")
                process.stdin.flush()
                assert line.recv(100) == b"ada\r"
                process.stdin.write(b"\x1d")
                process.stdin.close()
                assert process.wait(10) == 0


@pytest.mark.console
def test_a_stream_opens_each_time(computer: dict[str, str], served: Settings) -> None:
    """Of connections that two threads used at once, one in forty stood still."""
    signed_in(computer)
    name = dpe(computer, "get", "small").split("\t")[0]
    machine = Machine.get(Machine.number == int(name.rpartition("-")[2]))
    account = Account.get(Account.name == "person0")
    token = tokens.create(Actor(account.name, account.id), "many", ["read", "machines", "consoles"], 1)
    client = Client(computer["APPLIANCE"], token, certificate=(served.tls / "appliance.crt").read_text())
    found, heard = {"id": machine.id, "name": name}, list[bytes]()
    with socket.create_server((served.address(machine.slot), 0)) as server:
        target = f"tcp/{server.getsockname()[1]}"
        for number in range(200):
            said = partial(next, iter([b"from the person"]), b"")
            assert console._pass(client, found, target, said, heard.append) == "", number
            line, _ = server.accept()
            with line:
                assert line.recv(100) == b"from the person"


@pytest.mark.console
def test_a_viewer_on_this_computer_sees_its_screen(computer: dict[str, str], served: Settings) -> None:
    signed_in(computer)
    name = dpe(computer, "get", "small").split("\t")[0]
    machine = Machine.get(Machine.number == int(name.rpartition("-")[2]))
    with socket.create_server((served.address(machine.slot), 0)) as server:
        server.settimeout(10)
        target = f"vnc/{server.getsockname()[1]}"
        with running(computer, "dpe", "console", name, "--target", target, "--listen", "0") as process:
            assert process.stderr
            said = process.stderr.readline().decode()
            port = re.search(r"at 127\.0\.0\.1:(\d+) for programs", said)
            assert port, said
            for _ in range(2):  # one after the other: each has a ticket of its own
                with socket.create_connection(("127.0.0.1", int(port[1])), timeout=10) as viewer:
                    screen, _ = server.accept()
                    with screen:
                        screen.sendall(b"RFB 003.008\n")
                        assert viewer.recv(12) == b"RFB 003.008\n"
                        viewer.sendall(b"RFB 003.008\n\1")
                        assert screen.recv(13, socket.MSG_WAITALL) == b"RFB 003.008\n\1"
            process.terminate()


def json_of_ansible(value: Any) -> Any:
    """Without the marks of what came from elsewhere, which no template reads."""
    if isinstance(value, dict):
        return value["__ansible_unsafe"] if "__ansible_unsafe" in value else {name: json_of_ansible(one) for name, one in value.items()}
    return [json_of_ansible(one) for one in value] if isinstance(value, list) else value


def test_ansible_has_the_machines_from_the_plugin_as_from_the_script(
    computer: dict[str, str], served: Settings, installed: Path, tmp_path: Path
) -> None:
    signed_in(computer)
    name = dpe(computer, "get", "small").split("\t")[0]
    (tmp_path / "machines.dpe.yml").write_text("plugin: dpe.appliance.machines\nkeyed_groups: [{key: dpe_class, prefix: kind}]\n")
    [packages] = installed.glob("lib/python3*/site-packages")
    env = {**computer, "PYTHONPATH": str(packages), "ANSIBLE_COLLECTIONS_PATH": str(tmp_path), "ANSIBLE_HOME": str(tmp_path / "ansible")}
    words = [str(Path(sys.executable).parent / "ansible-inventory"), "-i", str(tmp_path / "machines.dpe.yml"), "--list"]
    if not Path(words[0]).exists():  # of an environment that borrows its packages
        words[:1] = [sys.executable, "-m", "ansible.cli.inventory"]
    done = subprocess.run(words, env=env, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    found, script = json.loads(done.stdout), json.loads(dpe(computer, "inventory", "--list"))
    assert name in found["class_small"]["hosts"]
    assert sorted(found["kind_small"]["hosts"]) == sorted(found["class_small"]["hosts"]) == sorted(script["class_small"]["hosts"])
    theirs, ours = (json_of_ansible(one["_meta"]["hostvars"][name]) for one in (found, script))
    assert {**theirs, "ansible_ssh_common_args": ""} == {**ours, "ansible_ssh_common_args": ""}
    assert f"proxy {theirs['dpe_id']} %p" in theirs["ansible_ssh_common_args"]
