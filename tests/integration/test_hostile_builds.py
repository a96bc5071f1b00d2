"""Builds of people who mean harm: what a role may reach, from every place where its author may write, and what becomes of one that never stops.

Each is contained, and what was ended says why. Nothing is left of it.
"""

import contextlib
import functools
import http.server
import json
import os
import shlex
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from appliance.errors import DpeError
from appliance.run import run
from appliance.scenario.load import ScenarioErrors
from appliance.seeds import build, unsafe
from appliance.seeds.build import SeedJob
from appliance.seeds.follow import execute
from appliance.seeds.sandbox import Limits, Sandbox, hand_over, remove
from appliance.settings import REPOSITORY, load
from tests.kept import CACHE
from tests.seeds import small_scenario
from tests.waiting import until

pytestmark = pytest.mark.hostilebuild

ATTACKS = REPOSITORY / "tests/attacks.py"
CANARY = "canary-5f2d"


@dataclass(frozen=True)
class Host:
    """What there is to take: files that hold the canary, sockets that count who comes, a process."""

    folder: Path
    secrets: list[Path]
    sockets: list[Path]
    listeners: list[socket.socket]
    port: int
    victim: subprocess.Popen[bytes]

    @property
    def given(self) -> str:
        return json.dumps(
            {
                "secrets": [str(file) for file in self.secrets],
                "sockets": [str(file) for file in self.sockets],
                "abstract": f"{CANARY}-{os.getpid()}",
                "port": self.port,
                "victim": self.victim.pid,
            }
        )

    def untouched(self) -> None:
        assert [file.read_text() for file in self.secrets] == [CANARY] * len(self.secrets)
        for listener in self.listeners:
            with pytest.raises(BlockingIOError):
                listener.accept()
        assert self.victim.poll() is None


@pytest.fixture(scope="module")
def host() -> Iterator[Host]:
    folder = Path(f"/var/tmp/dpe-hostile-{os.getpid()}")
    secrets = [folder / name for name in ("state/catalog/catalog.db", "state/tls/key.pem", "state/settings.toml", "seeds/one/1/disk.qcow2")]
    sockets = [folder / "run" / name for name in ("libvirt-sock", "host.sock", "engine.sock")]
    for file in (*secrets, *sockets):
        file.parent.mkdir(parents=True, exist_ok=True)
    for file in secrets:
        file.write_text(CANARY)
        file.chmod(0o666)  # it is not the mode that keeps anybody out
    listeners = []
    for address in (*map(str, sockets), f"\0{CANARY}-{os.getpid()}", ("127.0.0.1", 0)):
        listener = socket.socket(socket.AF_INET if isinstance(address, tuple) else socket.AF_UNIX)
        listener.bind(address)
        listener.listen()
        listener.setblocking(False)
        listeners.append(listener)
    victim = subprocess.Popen(["sleep", "1000"], env={"SECRET": CANARY})
    try:
        yield Host(folder, secrets, sockets, listeners, listeners[-1].getsockname()[1], victim)
    finally:
        victim.kill()
        victim.wait()
        for listener in listeners:
            listener.close()
        shutil.rmtree(folder)


def harmless(found: dict[str, Any]) -> None:
    """Each attempt ended as it should, and what little there is to see is not the host's."""
    assert found.pop("uid") == 0, "it is root, in there"
    environment = found.pop("environment")
    assert not {name for name in environment if name.startswith("DPE_")}
    assert {name: said for name, said in found.items() if not said.startswith("refused")} == {}
    assert CANARY not in json.dumps([found, environment])


# -- the sandbox alone ------------------------------------------------------------------------


@pytest.fixture
def sandbox(tmp_path: Path) -> Iterator[Sandbox]:
    """One like a role's, without a tree."""
    mark = tmp_path / "scratch"
    mark.mkdir()
    yield Sandbox(mark, reads=[ATTACKS], writes=[hand_over(tmp_path / "own")], limits=Limits(free=1), hosts=["mirror.invalid:80"])
    until(lambda: not _left(str(mark)), lambda: _left(str(mark)))  # what was ended is gone as soon as somebody has looked after it
    remove(mark)
    assert not mark.exists()


def _left(word: str) -> list[str]:
    """Processes that have this in their command line, in which a NUL ends each word."""
    found = []
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            if word.encode() in file.read_bytes():
                found.append(file.read_text())
    return found


def ran(sandbox: Sandbox, *command: str | Path) -> tuple[bool, list[dict[str, Any]], float]:
    """How a program ended in it, what it said, and after how many seconds."""
    said: list[dict[str, Any]] = []
    begun = time.monotonic()
    well = execute(command, sandbox, said.append, lambda: time.monotonic() > begun + 30)
    return well, said, time.monotonic() - begun


def test_nothing_of_the_host_is_reached(sandbox: Sandbox, host: Host) -> None:
    well, said, _ = ran(sandbox, sys.executable, ATTACKS, host.given)
    assert well, said
    harmless(json.loads(said[-1]["text"]))
    host.untouched()


@pytest.mark.parametrize(
    ("limits", "script", "reason"),
    [
        (Limits(seconds=0.6, free=1), "while :; do sleep 1; done", "it did not end within"),
        (Limits(processes=60, free=1), "f() { sleep 100 & f & wait; }; f", "it had more than 60 processes"),
        (Limits(free=1), "yes $(printf %01000d 0)", "it wrote more than 64 MiB"),
        (
            Limits(memory=150, free=1),
            'exec python3 -c "x = bytes(range(256)) * (1 << 21); import time; time.sleep(60)" < /dev/zero',
            "150 MiB in memory",
        ),
    ],
    ids=["never ends", "forks for ever", "writes for ever", "takes all memory"],
)
def test_what_goes_too_far_is_ended_with_the_reason(sandbox: Sandbox, limits: Limits, script: str, reason: str) -> None:
    well, said, seconds = ran(replace(sandbox, limits=limits), "sh", "-c", script)
    assert not well
    assert [event["reason"] for event in said if event["kind"] == "stopped" and reason in event["reason"]], said[-3:]
    assert seconds < 10


def test_a_full_disk_is_left_before_it_is_full(sandbox: Sandbox, tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    run(["mount", "-t", "tmpfs", "-o", "size=80m", "tmpfs", disk])
    try:
        small = replace(sandbox, scratch=disk / "scratch", writes=[], limits=Limits(free=40, file=10))
        small.scratch.mkdir()
        script = "for n in $(seq 70); do fallocate -l 1M /tmp/file-$n; sleep 0.02; done"
        well, said, _ = ran(small, "sh", "-c", script)
        assert not well
        assert "No space left on device" in next(event["reason"] for event in said if event["kind"] == "stopped")
        assert shutil.disk_usage(disk).free > 20 << 20
        well, said, _ = ran(replace(small, limits=Limits(free=1, file=10)), "sh", "-c", "fallocate -l 11M /tmp/large")
        assert not well
        assert "File size limit exceeded" in said[-1]["text"]
    finally:
        run(["umount", disk])


def test_what_it_leaves_behind_dies_with_it(sandbox: Sandbox) -> None:
    well, _, seconds = ran(sandbox, "sh", "-c", "setsid sh -c 'trap \"\" TERM HUP; sleep 4711' > /dev/null 2>&1 & sleep 0.2")
    assert well
    assert seconds < 10
    assert [*_left("sleep 4711"), *_left("sleep\0004711\0")] == []


def test_a_line_that_never_ends_and_words_that_are_no_event_do_no_harm(sandbox: Sandbox) -> None:
    forged = [
        '{"kind": "task", "name": {"a": 1}}',
        '{"kind": "total", "tasks": "many"}',
        '{"kind": "nosuch"}',
        "[" * 100_000,
        "x" * 3_000_000,
    ]
    (sandbox.scratch / "lines.json").write_text(json.dumps(forged))
    script = "import json, sys; [print(line) for line in json.load(open(sys.argv[1]))]; print('y' * 5_000_000, end='')"
    well, said, _ = ran(sandbox, sys.executable, "-c", script, sandbox.scratch / "lines.json")
    assert well
    assert {event["kind"] for event in said} == {"output"}
    assert max(len(event["text"]) for event in said) < 4_000_000


def test_the_proxy_leads_to_its_hosts_alone(sandbox: Sandbox) -> None:
    class Answering(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(f"{self.path} of {self.headers['Host']}".encode())

        def log_message(self, *_: object) -> None:
            pass

    servers = [http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answering) for _ in range(2)]
    for server in servers:
        threading.Thread(target=server.serve_forever, daemon=True).start()
    mirror, other = (f"127.0.0.1:{server.server_address[1]}" for server in servers)
    script = (
        "import sys, urllib.request, http.client\n"
        "for host in sys.argv[1:]:\n"
        "    try: print(urllib.request.urlopen(f'http://{host}/debian/x?y').read().decode())\n"
        "    except OSError as error: print(error)\n"
        "    tunnel = http.client.HTTPConnection('127.0.0.1', 3128)\n"
        "    tunnel.set_tunnel(host)\n"
        "    try: tunnel.request('GET', '/tunnel'); print(tunnel.getresponse().read().decode())\n"
        "    except OSError as error: print(error)\n"
    )
    try:
        well, said, _ = ran(replace(sandbox, hosts=[mirror]), sys.executable, "-c", script, mirror, other)
    finally:
        for server in servers:
            server.shutdown()
            server.server_close()
    assert well, said
    lines = [event["text"] for event in said]
    assert lines[:2] == [f"/debian/x?y of {mirror}", f"/tunnel of {mirror}"]
    assert all("403" in line and mirror in line for line in lines[2:]), lines


# -- a whole build ----------------------------------------------------------------------------

PLUGIN = """
import subprocess, sys
class FilterModule:
    def filters(self):
        return {"attack": lambda given: subprocess.run([sys.executable, "ATTACKS", given], capture_output=True, text=True).stdout}
"""


def role(given: str, script: Path) -> list[dict[str, Any]]:
    """The tasks: the attacks from each place, what is left for whoever comes after, and at last what never ends."""
    attack = [sys.executable, str(script), given]
    link = ["ln", "-sf", "/etc/shadow", "{{ out }}/vmlinuz"]
    spoil = "for one in {{ cache }}/../../bootstrap/*; do echo x >> $one; done"
    inside = {"cmd": f"{script.name} '{given}'", "executable": "/usr/bin/python3"}
    seen = "{{ [inside.stdout, looked, filtered, there.stdout, near.stdout] | to_json }}"
    tasks: list[dict[str, Any]] = [
        {"script": inside, "register": "inside"},
        {"set_fact": {"looked": "{{ lookup('pipe', command) }}"}, "vars": {"command": shlex.join(attack)}},
        {"set_fact": {"filtered": "{{ given | attack }}"}, "vars": {"given": given}},
        {"command": {"argv": attack}, "delegate_to": "localhost", "register": "there"},
        {"command": {"argv": attack}, "vars": {"ansible_connection": "local"}, "register": "near"},
        {"shell": spoil, "delegate_to": "localhost", "failed_when": False},
        {"command": {"argv": link}, "delegate_to": "localhost"},
        {"shell": "for n in $(seq 1500); do mkdir d; cd d; done", "args": {"chdir": "/var/tmp"}},  # which is hard to remove
        {"shell": "setsid sleep 4712 > /dev/null 2>&1 &"},
        {"copy": {"dest": "/root/seen.json", "mode": "0644", "content": seen}},
        {"name": "Fork for ever", "shell": "f() { sleep 100 & f & wait; }; f"},
    ]
    return tasks


def test_a_hostile_role_is_contained_wherever_it_is_carried_out(host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = load({}, state=tmp_path / "state")
    settings.state.mkdir()
    (CACHE / "cache").mkdir(parents=True, exist_ok=True)
    settings.cache.symlink_to(CACHE / "cache")
    folder = tmp_path / "scenario/roles/hostile"
    for part in ("tasks", "files", "filter_plugins"):
        (folder / part).mkdir(parents=True)
    script = folder / "files/attacks.py"
    shutil.copy(ATTACKS, script)
    (folder / "filter_plugins/attack.py").write_text(PLUGIN.replace("ATTACKS", str(script)))
    (folder / "tasks/main.yml").write_text(json.dumps(role(host.given, script)))
    spec = small_scenario().classes["small"].model_copy(update={"roles": ["hostile"]})
    job = SeedJob(1, "hostile", 1, spec, tmp_path / "scenario")

    with pytest.raises(ScenarioErrors, match="delegate_to: localhost leads out of the machine that is made"):
        build.build(job, settings, lambda step: None, lambda: False)

    def described(self: build._Build) -> dict[str, Any]:
        found = of_all(self)
        play = yaml.safe_load((self.work / "roles.yml").read_text().removeprefix("!unsafe"))
        (self.work / "roles.yml").write_text(
            unsafe.dump([{**play[0], "roles": ["hostile"], "pre_tasks": []}])
        )  # what is ours takes its time
        return found

    of_all = build._Build.description
    monkeypatch.setattr(build._Build, "description", described)
    monkeypatch.setattr(build, "check_confined", lambda *_: None)
    monkeypatch.setattr(build, "Limits", functools.partial(Limits, processes=150))
    monkeypatch.setenv("SECRET_OF_THE_ENGINE", CANARY)
    packages = {file: file.stat().st_mtime_ns for file in (CACHE / "cache/bootstrap").glob("*.tar")}
    seen: list[str] = []

    def progress(step: build.SeedProgress) -> None:
        if step.task_name.endswith("Fork for ever"):
            seen.extend(json.loads((build.work_folder(1, settings) / "tree/root/root/seen.json").read_text()))

    with pytest.raises(DpeError) as caught:
        build.build(job, settings, progress, lambda: False)
    log = build.seed_log("hostile", 1, settings).read_text()
    assert "was ended in the task “hostile : Fork for ever”: it had more than 150 processes" in caught.value.message, log[-3000:]
    assert len(seen) == 5
    for one in seen:
        harmless(json.loads(one))
    assert CANARY not in log
    host.untouched()
    assert {file: file.stat().st_mtime_ns for file in packages} == packages
    assert not build.work_folder(1, settings).exists()
    assert _left("sleep\0004712\0") == []  # a number alone is in many a command line
    assert _left(str(settings.state)) == []
