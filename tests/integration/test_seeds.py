"""Seeds on the real tools: built, booted, and every way in which a build ends early."""

import contextlib
import hashlib
import json
import os
import random
import shutil
import signal
import stat
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from urllib.request import urlopen

import pytest

from appliance.catalog import now
from appliance.errors import BadInput, CommandFailed, DpeError, Unavailable
from appliance.hypervisor.libvirt.provider import LibvirtProvider
from appliance.hypervisor.provider import Card, MachineSpec
from appliance.identity import secrets, ssh_authority
from appliance.lifecycle import ssh
from appliance.run import run
from appliance.scenario.load import load as load_scenario
from appliance.scenario.schema import ClassSpec
from appliance.seeds import guest, seen
from appliance.seeds.build import BOOT_TASKS, Cancelled, SeedJob, SeedProgress, build, clear, seed_log, test_machine_id, work_folder
from appliance.settings import REPOSITORY, Settings, load
from tests.integration.conftest import Libvirtd
from tests.kept import CACHE
from tests.seeds import SMALL, cached_seed, older_guests, place, small_scenario
from tests.waiting import PATIENCE, until

test_machine_id.__test__ = False  # type: ignore[attr-defined]  its name only looks like a test's


def never() -> bool:
    return False


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """An appliance without a hypervisor, which shares the kept packages with the other tests."""
    settings = load({}, state=tmp_path / "state")
    settings.state.mkdir()
    (CACHE / "cache").mkdir(parents=True, exist_ok=True)
    settings.cache.symlink_to(CACHE / "cache")
    return settings


def job(spec: ClassSpec | None = None, scenario: Path = SMALL, *, version: int = 1) -> SeedJob:
    return SeedJob(version, "small", version, spec or small_scenario().classes["small"], scenario)


def nothing_left(settings: Settings) -> None:
    """What must be true after any build that did not end well."""
    assert not work_folder(1, settings).exists()
    assert list(settings.seeds.glob("small/*")) == []
    assert str(settings.state / "work") not in Path("/proc/self/mountinfo").read_text()
    assert _processes(settings) == []


def _processes(settings: Settings, id: int = 1) -> list[str]:
    """The processes that have the build's folder in their command line."""
    found = []
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            if str(work_folder(id, settings)).encode() in file.read_bytes():
                found.append(str(file))
    return found


def cut_off(settings: Settings, id: int, begins: str = "guest", after: float = 0, *, layered: bool = False) -> None:
    """A build of small in an engine that is killed so many seconds after a task that begins like that; it dies with it."""
    script = (
        "import sys; from pathlib import Path; from appliance.settings import load; from appliance.seeds.build import SeedJob, build\n"
        "from tests.seeds import SMALL, small_scenario\n"
        "spec, id = small_scenario().classes['small'], int(sys.argv[2])\n"
        "job = SeedJob(id, 'small', id, spec, SMALL, layered=bool(sys.argv[3:]))\n"
        "build(job, load({}, state=sys.argv[1]), lambda s: print(s.task_name, flush=True), lambda: False)"
    )
    engine = subprocess.Popen(
        [sys.executable, "-c", script, settings.state, str(id), *(["layered"] if layered else [])],
        stdout=subprocess.PIPE,
        text=True,
        cwd=REPOSITORY,
    )
    assert engine.stdout
    with engine.stdout:
        while not engine.stdout.readline().startswith(begins):
            assert engine.poll() is None
        time.sleep(after)
        engine.send_signal(signal.SIGKILL)
        engine.wait()
    until(lambda: not _processes(settings, id), "processes of the build are still there")
    assert work_folder(id, settings).exists()


@pytest.mark.choice
@pytest.mark.parametrize(
    ("class_name", "was_cut_off"),
    [
        pytest.param("small", True, id="small, cut off before"),
        # That a layer upon its operating system boots and is forked is shown by test_choice.py, too.
        *(pytest.param(name, False, id=f"{name}, upon its operating system") for name in older_guests()),
    ],
)
def test_a_seed_is_built_booted_and_kept(
    appliance_settings: Settings, provider: LibvirtProvider, class_name: str, was_cut_off: bool
) -> None:
    settings, steps = appliance_settings, list[SeedProgress]()
    id = {"small": 901, "small12": 902}[class_name]
    (settings.cache / "bootstrap").mkdir(parents=True, exist_ok=True)
    for kept in (CACHE / "cache/bootstrap").glob("*.tar"):
        if not (settings.cache / "bootstrap" / kept.name).exists():
            shutil.copy2(kept, settings.cache / "bootstrap")
    if was_cut_off:
        cut_off(settings, id)
    wanted = SeedJob(id, class_name, id, small_scenario().classes[class_name], SMALL, layered=not was_cut_off)
    files = build(wanted, settings, steps.append, never, provider)

    numbers = [step.task_number for step in steps]
    assert numbers == list(range(1, len(steps) + 1))
    assert {step.task_total for step in steps} == {len(steps)}
    assert [step.elapsed for step in steps] == sorted(step.elapsed for step in steps)
    assert "Remove it" in seed_log(class_name, id, settings).read_text()
    assert [step.task_name for step in steps][-len(BOOT_TASKS) :] == list(BOOT_TASKS)

    manifest = files.manifest
    assert manifest == json.loads((files.disk.parent / "seed.json").read_text())
    assert manifest["os"] == small_scenario().classes[class_name].os
    assert "cloud" in manifest["kernel"]
    assert "qemu-guest-agent" in manifest["packages"]
    assert 0 < manifest["boot_seconds"] < manifest["seconds"]
    [page] = manifest["seen"]["pages"]
    assert (page["status"], page["port"], manifest["seen"]["picture"]) == (200, 8080, class_name == "small")
    assert page["text"]
    picture = files.disk.parent / seen.PICTURE
    assert picture.exists() == (class_name == "small")
    for file in (files.disk, files.kernel, files.initrd, *([picture] if picture.exists() else [])):
        assert manifest["files"][file.name] == {"size": file.stat().st_size, "sha256": hashlib.sha256(file.read_bytes()).hexdigest()}
        assert stat.S_IMODE(file.stat().st_mode) == 0o444
        assert file.stat().st_uid == 0

    assert not work_folder(id, settings).exists()
    assert test_machine_id(id) not in {*provider.disks(), *(found.id for found in provider.list())}
    # What is there already is not built again.
    again: list[SeedProgress] = []
    assert build(SeedJob(id, class_name, id, small_scenario().classes[class_name], SMALL), settings, again.append, never, provider) == files
    assert again == []


LAYERING = ["guest", "Keep the operating system"]  # steps of the operating system itself


@pytest.mark.hostilebuild
def test_a_build_killed_anywhere_dies_whole(settings: Settings) -> None:
    """Of its steps a random one, a random moment into it, upon its operating system or not; `make soak` tries many."""
    chosen = random.Random(int(os.environ.get("DPE_TEST_SEED", "1")))
    for _ in range(int(os.environ.get("DPE_TEST_BUILD_CUTS", "1"))):
        step = chosen.choice(
            ["Unpack", "Keep services", "Gather", "web", "End what", "Make the smallest", "Make the file system", *LAYERING]
        )
        for kept in settings.cache.glob("bootstrap/*-base-*.tar") if step in LAYERING else ():
            kept.unlink()  # so that it is made
        cut_off(settings, 1, step, chosen.uniform(0, 1.5), layered=step in LAYERING or chosen.random() < 0.5)
        clear(1, "small", 1, settings)
        nothing_left(settings)


OLDER = "small12"  # it has an SSH server; the other one's machines are booted in many tests


@pytest.fixture(scope="module")
def two_machines(libvirtd: Libvirtd) -> Iterator[list[MachineSpec]]:
    """Two machines of one seed, booted once for all tests of them."""
    settings, provider = libvirtd.settings, libvirtd.provider
    seed = place(cached_seed(OLDER), settings, OLDER, 900)
    specs = []
    for slot in (20, 21):
        id = str(uuid.uuid4())
        card = Card(f"52:54:00:00:90:{slot:02x}", settings.address(slot), 16, settings.gateway)
        name = f"{OLDER}/900"
        specs.append(MachineSpec(id, f"seeds-{slot}", OLDER, name, seed.cmdline, 2, 1, 256, card, 8080, "/ready", 240))
    try:
        for spec in specs:
            provider.clone(spec)
            provider.start(spec)
        for spec in specs:
            provider.wait(spec)
        yield specs
    finally:
        for spec in specs:
            provider.destroy(spec.id)


def test_machines_of_one_seed_are_not_the_same_and_become_their_owners(provider: LibvirtProvider, two_machines: list[MachineSpec]) -> None:
    def facts(spec: MachineSpec) -> dict[str, object]:
        with urlopen(f"http://{spec.card.address}:8080/facts", timeout=20) as answer:
            return json.load(answer)  # type: ignore[no-any-return]

    first, second = map(facts, two_machines)
    assert len(str(first["machine_id"])) == 32
    assert first["machine_id"] != second["machine_id"]
    assert first["boot_id"] != second["boot_id"]
    assert first["owner"] is None
    assert first["keys"] == []

    key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f alice@home"
    for name, keys in (("Bob", [key, key]), ("Alice Müller", [key])):  # a second time, for another owner: the last one counts
        said = guest.personalise_input(user="user", full_name=name, ssh_keys=keys, owner="alice")
        provider.wait(two_machines[0], personalise=said)
    found = facts(two_machines[0])
    assert found["hostname"] == "seeds-20"
    assert found["owner"] == {"name": "alice", "full_name": "Alice Müller", "user": "user"}
    assert found["keys"] == [key]
    # The name in the account file is the one thing that nobody waits for.
    until(lambda: ":Alice Müller:/home/user:" in str(facts(two_machines[0])["account"]), every=0.2)
    shown = "date +%s; cat /etc/hostname; stat -c '%U %a' /home/user/.ssh /home/user/.ssh/authorized_keys; getent hosts seeds-20; systemctl --failed --no-legend; systemctl show qemu-guest-agent -p NRestarts"
    asked_at = time.time()
    seconds, *looked = provider.execute(two_machines[0].id, ["/bin/sh", "-c", shown]).output.split()
    assert asked_at - 5 < int(seconds) < time.time() + 5
    assert looked == ["seeds-20", "user", "700", "user", "600", "127.0.1.1", "seeds-20", "NRestarts=0"]
    assert facts(two_machines[1])["hostname"] == "seeds-21"


def test_machines_with_an_ssh_server_have_host_keys_of_their_own(provider: LibvirtProvider, two_machines: list[MachineSpec]) -> None:
    keys = []
    for spec in two_machines:
        # Waiting for the unit, which may come after the application.
        shown = "systemctl start dpe-hostkeys.service ssh.service && cat /etc/ssh/ssh_host_*.pub"
        done = provider.execute(spec.id, ["/bin/sh", "-c", shown], timeout=120)
        assert done.status == 0, done.error
        keys.append(done.output.split()[:2])
    assert [kind for kind, _ in keys] == ["ssh-ed25519", "ssh-ed25519"]
    assert keys[0] != keys[1]


@pytest.mark.ssh
def test_a_machine_is_known_by_the_appliances_signature_and_lets_its_owners_key_in(
    provider: LibvirtProvider, two_machines: list[MachineSpec], tmp_path: Path
) -> None:
    """What the engine does after a hand-over (lifecycle/ssh.py), in a real machine."""
    (secret := tmp_path / "secret").write_bytes(b"s" * 32)
    secrets.open(secret)
    spec = two_machines[1]
    public = run(["sh", "-c", f"ssh-keygen -q -t ed25519 -N '' -f {tmp_path}/key && cat {tmp_path}/key.pub"]).strip()
    personal = guest.personalise_input(user="user", full_name="Alice", ssh_keys=[public], owner="alice")
    assert provider.execute(spec.id, ["/bin/sh", "-c", ssh.TELL], input=personal).status == 0
    shown = provider.execute(spec.id, ["/bin/sh", "-c", ssh.READ], timeout=120).output
    certificate = ssh_authority.sign_host(shown, [ssh.alias(spec.id)], now())
    assert provider.execute(spec.id, ["/bin/sh", "-c", ssh.WRITE], input=f"{certificate}\n".encode()).status == 0
    (tmp_path / "known_hosts").write_text(ssh_authority.known_hosts(["dpe-*"]) + "\n")
    words = {
        "UserKnownHostsFile": tmp_path / "known_hosts",
        "HostKeyAlias": ssh.alias(spec.id),
        "StrictHostKeyChecking": "yes",
        "BatchMode": "yes",
    }
    options = [word for name, value in words.items() for word in ("-o", f"{name}={value}")]
    deadline = time.monotonic() + PATIENCE
    while True:  # the server reads its configuration again
        try:
            said = run(["ssh", "-F", "none", "-i", tmp_path / "key", *options, f"user@{spec.card.address}", "whoami"])
            break
        except CommandFailed:
            assert time.monotonic() < deadline
    assert said == "user\n"


@pytest.mark.badinput
def test_a_package_that_does_not_exist_is_named(settings: Settings) -> None:
    spec = small_scenario().classes["small"].model_copy(update={"packages": ["there-is-no-such-package"]})
    with pytest.raises(BadInput) as caught:
        build(job(spec), settings, lambda step: None, never)
    assert "there-is-no-such-package" in caught.value.message
    assert "`packages` of the class small in scenario.yml" in caught.value.hint
    assert caught.value.message in seed_log("small", 1, settings).read_text()
    nothing_left(settings)


@pytest.mark.badinput
def test_a_role_that_fails_is_named_with_what_it_said(settings: Settings, tmp_path: Path) -> None:
    scenario = tmp_path / "small"
    shutil.copytree(SMALL, scenario)
    with (scenario / "roles/web/tasks/main.yml").open("a") as tasks:
        tasks.write("\n- name: Fetch the moon\n  ansible.builtin.command: { argv: [ls, /no/such/place] }\n")
    loaded = load_scenario(scenario)
    with pytest.raises(DpeError) as caught:
        build(job(loaded.scenario.classes["small"], scenario), settings, lambda step: None, never)
    assert "“Fetch the moon”" in caught.value.message
    assert "/no/such/place" in caught.value.message
    assert str(seed_log("small", 1, settings)) in caught.value.hint
    nothing_left(settings)


@pytest.mark.badinput
def test_a_disk_that_is_full_in_the_middle_is_said_with_figures(settings: Settings) -> None:
    work = settings.state / "work"
    work.mkdir()
    run(["mount", "-t", "tmpfs", "-o", "size=150m,mode=711", "tmpfs", work])
    try:
        with pytest.raises(Unavailable) as caught:
            build(job(), settings, lambda step: None, never)
        assert list(work.iterdir()) == []
    finally:
        run(["umount", work])
    assert "The disk was full in the middle of building the seed of small" in caught.value.message
    assert f"to {work_folder(1, settings)} and needs about 1536 MiB in all" in caught.value.message
    assert not list((CACHE / "cache/bootstrap").glob("*.new"))
    nothing_left(settings)


def test_a_cancelled_build_ends_at_once(settings: Settings) -> None:
    reached: list[float] = []

    def progress(step: SeedProgress) -> None:
        if step.task_name.startswith("guest") and not reached:
            reached.append(time.monotonic())

    with pytest.raises(Cancelled):
        build(job(), settings, progress, lambda: bool(reached))
    assert time.monotonic() - reached[0] < 15  # the rest of the build would take longer
    assert "was cancelled" in seed_log("small", 1, settings).read_text()
    nothing_left(settings)
