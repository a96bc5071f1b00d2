"""Roles as one finds them, by the real Ansible in the tree of a real seed: everything up to the image."""

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
import yaml

from appliance.scenario import packaged, tree
from appliance.scenario.packaged import Packaged
from appliance.scenario.schema import Chosen
from appliance.seeds import build, unsafe
from appliance.seeds.follow import follow
from appliance.settings import load
from tests.kept import CACHE
from tests.seeds import small_scenario

pytestmark = pytest.mark.cases

ROLE: list[dict[str, Any]] = [
    {"name": "As root", "ansible.builtin.copy": {"dest": "/etc/motd", "content": "hello\n", "mode": "0644"}, "become": True},
    {
        "name": "As root by sudo",
        "ansible.builtin.command": {"cmd": "id -un"},
        "become": True,
        "become_method": "sudo",
        "become_flags": "-H",
        "register": "root",
    },
    {"name": "As nobody", "ansible.builtin.command": {"cmd": "id -un"}, "become": True, "become_user": "nobody", "register": "nobody"},
    {
        "name": "A file of nobody's",
        "ansible.builtin.copy": {"dest": "/tmp/theirs", "content": "x\n", "mode": "0600"},
        "become": True,
        "become_user": "nobody",
    },
    {"name": "Whose it is", "ansible.builtin.command": {"cmd": "stat --format=%U /tmp/theirs"}, "register": "theirs"},
    {
        "name": "Facts",
        "ansible.builtin.set_fact": {
            "facts": "{{ ansible_facts.os_family }} {{ ansible_distribution_release }} {{ ansible_facts['distribution_major_version'] }}"
            " {{ ansible_architecture }}"
        },
        "when": "ansible_facts['os_family'] == 'Debian'",
    },
    {"name": "What is there", "ansible.builtin.apt": {"name": ["python3", "libc6=2*"], "update_cache": True}, "register": "there"},
    {"name": "The same by package", "ansible.builtin.package": {"name": "python3", "state": "latest"}},
    {"name": "Start at once", "ansible.builtin.service": {"name": "dbus", "state": "started", "enabled": True}},
    {"name": "The old way", "ansible.builtin.command": {"cmd": "service dbus restart"}},
    {
        "name": "The oldest way",
        "ansible.builtin.command": {"cmd": "start-stop-daemon --start --background --exec /bin/sleep -- 1001"},
        "notify": ["Restart it", "Linger"],
    },
    # With and without a pipe of its own: neither may keep the build waiting, whatever is ended in the end.
    {"name": "A daemon without a service", "ansible.builtin.raw": "setsid sleep 1002 &"},
    {
        "name": "It is there for later tasks",
        "ansible.builtin.shell": "cat /proc/[0-9]*/cmdline | grep --text --count 100[2]",
        "register": "later",
    },
    {
        "name": "Show",
        "ansible.builtin.copy": {
            "dest": "/root/seen.json",
            "content": "{{ [root.stdout, nobody.stdout, theirs.stdout, facts, there is changed, later.rc] | to_json }}",
            "mode": "0644",
        },
    },
    {
        "block": [{"name": "What is missing", "ansible.builtin.apt": {"name": ["python3", "cowsay"], "state": "present"}}],
        "rescue": [{"ansible.builtin.command": {"cmd": "true"}}],
    },
    {
        "block": [{"name": "Hardware", "ansible.builtin.debug": {"msg": "{{ ansible_facts['memtotal_mb'] }}"}}],
        "rescue": [{"ansible.builtin.command": {"cmd": "true"}}],
    },
    {
        "block": [{"name": "Fetch", "ansible.builtin.get_url": {"url": "https://mirror.invalid/x", "dest": "/root/x", "mode": "0644"}}],
        "rescue": [{"ansible.builtin.command": {"cmd": "true"}}],
    },
]
OURS = packaged.files(
    Packaged(
        title="Ours",
        description="Made of a script.",
        releases=["debian-13"],
        script='printf "%s %s {{ 6 * 7 }} " "$DPE_USER" "$DPE_PORT" > /root/ours\nid -u >> /root/ours\n',
        port=8090,
    )
)
HANDLERS = [
    {"name": "Restart it", "ansible.builtin.service": {"name": "dbus", "state": "restarted"}},
    {"name": "Linger", "ansible.builtin.shell": "trap '' TERM; setsid sh -c 'while :; do sleep 1003; done' > /dev/null 2>&1 &"},
]


@dataclass(frozen=True)
class Built:
    """What came of it: what the role saw, what failed on the way, the log, and how a failure is explained."""

    ended_well: bool
    seen: list[Any]
    failed: dict[str, dict[str, str]]
    log: str
    explain: Callable[..., Any]
    ours: str  # what the script of an application of the scenario's own wrote


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Built]:
    folder = tmp_path_factory.mktemp("roles")
    for part, content in (("tasks", ROLE), ("handlers", HANDLERS)):
        (folder / "scenario/roles/found" / part).mkdir(parents=True)
        (folder / "scenario/roles/found" / part / "main.yml").write_text(json.dumps(content))
    (folder / "scenario/applications/ours").mkdir(parents=True)
    tree.write(OURS, folder / "scenario/applications/ours")
    settings = load({}, state=folder / "state")
    settings.state.mkdir()
    (CACHE / "cache").mkdir(parents=True, exist_ok=True)
    settings.cache.symlink_to(CACHE / "cache")
    spec = small_scenario().classes["small"].model_copy(update={"roles": ["found"], "applications": [Chosen(name="ours")]})
    job = build.SeedJob(1, "small", 1, spec, folder / "scenario")
    events: list[dict[str, Any]] = []
    with build._emptied(build.work_folder(1, settings)) as work:
        one = build._Build(job, settings, work, lambda progress: None, lambda: False)

        def take(event: dict[str, Any]) -> None:
            one.take(event)
            events.append(event)

        description = one.description()
        description["skip"] = ["image"]
        play = yaml.safe_load((work / "roles.yml").read_text().removeprefix("!unsafe"))
        play[0]["roles"].remove("guest")  # tested with whole seeds
        (work / "roles.yml").write_text(unsafe.dump(play))
        one.bootstrap()
        one.unpack(one.tarball)
        well = follow(one.described(description), one.inside(entered=True), take, lambda: False)
        seen = work / "tree/root/root/seen.json"
        script = work / "tree/root/root/ours"
        ours = script.read_text() if script.exists() else ""
        failed = {event["task"]: event for event in events if event["kind"] == "failed"}
        yield Built(well, json.loads(seen.read_text()) if seen.exists() else [], failed, one.log.read_text(), one.explain, ours)


def test_an_application_that_somebody_brought_is_built_as_all_are(built: Built) -> None:
    """Its script runs as root of the seed, and no word of it is a template."""
    assert built.ours == "user 8090 {{ 6 * 7 }} 0\n"


def explained(built: Built, task: str) -> str:
    event = built.failed[task]
    return str(built.explain(event["task"], event["message"], event["role"]))


def test_become_needs_no_sudo_and_becomes_whom_it_names(built: Built) -> None:
    assert built.seen[:3] == ["root", "nobody", "nobody"]


def test_facts_that_need_no_machine_are_there_and_others_are_named(built: Built) -> None:
    assert built.seen[3] == "Debian trixie 13 x86_64"
    assert "hardware and network are not known while a seed is built" in explained(built, "Hardware")


def test_apt_is_well_with_what_is_installed_and_names_what_is_not(built: Built) -> None:
    assert built.seen[4] is False
    said = explained(built, "What is missing")
    assert "of the role found: cowsay is not installed, and there is no network inside the seed" in said
    assert "python3" not in said
    assert "`packages` of the class small" in said


def test_a_role_that_fetches_is_told_that_there_is_no_network_inside(built: Built) -> None:
    assert "There is no network inside a seed" in explained(built, "Fetch")


def test_nothing_is_started_and_what_was_is_ended_and_named(built: Built) -> None:
    assert built.ended_well, built.log[-4000:]
    assert set(built.failed) == {"What is missing", "Hardware", "Fetch"}
    assert built.seen[5] == 0
    ended = re.findall(r"The task “(.*?)” of the role found left (.*?) running\. It was ended", " ".join(built.log.split()))
    assert {task for task, _ in ended} == {"A daemon without a service", "Linger"}
    assert any("sleep 1002" in command for _, command in ended)
