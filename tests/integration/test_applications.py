"""Each application of the catalogue, from what it declares: built, its snapshot taken, forked, every page of it opened, and its data kept.

`make test MARK=applications` does that for each on each release that it names, those without a page beside the web terminal. Else two share one seed
with two that somebody brought: one sent as a zip, one of the form's packages and script.
"""

import shutil
import uuid
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from urllib.request import urlopen

import pytest

from appliance import catalog, packages
from appliance.catalog import Actor
from appliance.catalog import scenarios as scenario_rows
from appliance.hypervisor.libvirt.provider import LibvirtProvider
from appliance.hypervisor.provider import MachineSpec
from appliance.lifecycle.specs import card
from appliance.scenario import applications, packaged, tree
from appliance.scenario.applications import Own
from appliance.scenario.packaged import Packaged
from appliance.scenario.schema import ClassSpec
from appliance.scenario.tree import File
from appliance.seeds.build import SeedFiles, SeedJob, build, seed_folder
from appliance.services import own_applications, scenarios
from appliance.settings import REPOSITORY, Settings, load
from tests import kept
from tests.integration.conftest import Libvirtd, empty, take
from tests.seeds import SMALL, SOURCES, place

pytestmark = pytest.mark.applications

TERMINAL = "terminal"  # whose page those are opened with that have none
LEFT = 48  # MiB that a machine which only waits has at least
SIGN_IN = 'name="auth['  # of Adminer, when it could not sign in
MARK = "of-the-first"
KEY = "ssh_key ssh-ed25519 AAAA ada\n"
ANSWERS = {  # to a command: 42
    "postgresql": "runuser -u user -- psql -Atc 'select 6 * 7' data",
    "mariadb": "runuser -u user -- mariadb -Ne 'select 6 * 7' data",
    "redis": "redis-cli eval 'return 6 * 7' 0",
    "r": "Rscript -e 'suppressMessages(library(ggplot2)); cat(6 * 7)'",
}
WRITES = {  # what a person does in their first machine, and what they read in the next
    "postgresql": "runuser -u user -- psql -qc 'create table kept as select 42 as it' data",
    "mariadb": "runuser -u user -- mariadb -e 'create table kept as select 42 as it' data",
    "redis": "redis-cli set it 42",
}
READS = {
    "postgresql": "runuser -u user -- psql -Atc 'select it from kept' data",
    "mariadb": "runuser -u user -- mariadb -Ne 'select it from kept' data",
    "redis": "redis-cli get it",
}
WORDS = "Hello, {{ 6 * 7 }}"  # which are data
BOARD = Packaged(
    title="Board",
    description="What everybody should know.",
    releases=["debian-12"],
    packages=["busybox"],
    port=8090,
    script="""\
mkdir /srv/board
echo "The board of $DPE_USER" > /srv/board/index.html
cat > /etc/systemd/system/board.service << END
[Service]
User=$DPE_USER
ExecStart=/bin/busybox httpd -f -p $DPE_PORT -h /srv/board
[Install]
WantedBy=multi-user.target
END
systemctl enable board.service
""",
)
GREETING = {
    "application.yml": f"""\
title: Greeting
description: Says what it was told to, and a secret of its machine's own.
icon: notebook
licence: MIT
releases: [debian-12]
access: web
web: {{port: 8091}}
needs: {{memory: 48}}
options: {{words: {{type: string, title: Words, default: "{WORDS}"}}}}
renew: Its secret is made anew.
""",
    "tasks/main.yml": """\
- name: Make its folder
  ansible.builtin.file: { path: /srv/greeting, state: directory, mode: "0755" }
- name: Write its page
  ansible.builtin.template: { src: index.html, dest: /srv/greeting/index.html, mode: "0644" }
- name: Make a secret
  ansible.builtin.copy: { content: of the seed, dest: /srv/greeting/secret, mode: "0644" }
- name: Describe it as a service
  ansible.builtin.template: { src: greeting.service, dest: /etc/systemd/system/greeting.service, mode: "0644" }
- name: Switch it on
  ansible.builtin.command: { argv: [systemctl, enable, greeting.service] }
  changed_when: true
""",
    "templates/index.html": "{{ application.options.words }}\n",
    "templates/greeting.service": """\
[Service]
User={{ spec.user }}
ExecStart=/usr/bin/python3 -m http.server {{ application.port }} --directory /srv/greeting
[Install]
WantedBy=multi-user.target
""",
    "files/renew": "#!/bin/sh\nexec cat /proc/sys/kernel/random/uuid > /srv/greeting/secret\n",
}
BROUGHT = ("board", "greeting")
PAIR = ("debian-12", ("pages", TERMINAL, *BROUGHT))
SAID = {8090: "The board of user\n", 8091: f"{WORDS}\n"}  # by the pages of those, in any machine


def named(release: str, names: tuple[str, ...]) -> str:
    """The class with these."""
    return f"app-{'-'.join(names)}-{release[-2:]}"


PAIR_NAME = named(*PAIR)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Each on each release where these tests are what is asked for."""
    each = [
        (release, (name,) if entry.manifest.web else (name, TERMINAL))
        for name, entry in applications.catalogue(dict).items()
        for release in entry.manifest.releases
    ]
    chosen = each if metafunc.config.getoption("markexpr") == "applications" else [PAIR]
    metafunc.parametrize(("release", "names"), chosen, ids=[f"{'+'.join(names)}-{release}" for release, names in chosen])


@pytest.fixture
def scenario(libvirtd: Libvirtd, names: tuple[str, ...]) -> Iterator[Path]:
    """The tests' scenario; with what somebody brought, as an appliance lays it out once that was taken."""
    if not set(BROUGHT) & set(names):
        yield SMALL
        return
    settings, admin = replace(libvirtd.settings, scenario=SMALL), Actor("admin", None)
    empty(settings)
    catalog.open(settings.catalog)
    packages.open(settings.packages)
    try:
        scenarios.follow_folder(settings)
        files = {path: File(text.encode(), executable=path == "files/renew") for path, text in GREETING.items()}
        own_applications.add(admin, tree.to_zip(files, "greeting"))
        own_applications.keep(admin, "board", packaged.files(BOARD))
        sent, now = own_applications.waiting(), scenarios.current()
        own_applications.take(admin, digest=sent.version.digest, seen=now.number)
        folder = scenario_rows.lay_out(settings)
    finally:
        catalog.close()
    yield folder
    empty(settings)


def described(release: str, names: tuple[str, ...], own: Own) -> ClassSpec:
    """The smallest class with these applications."""
    memory, disk = applications.needed((applications.catalogue(own)[name], {}) for name in names)
    chosen = [{"name": name} for name in names]
    size = {"memory": max(memory, 256), "disk": max(disk, 2)}
    spec = ClassSpec.model_validate({"title": "Applications", "os": release, "applications": chosen, "size": size})
    return applications.resolved(spec, own)


def seed_of(spec: ClassSpec, class_name: str, settings: Settings, scenario: Path) -> SeedFiles:
    """Its seed: that of the pair is kept, all the others would be too many."""
    if class_name != PAIR_NAME:
        return build(SeedJob(1, class_name, 1, spec, scenario), settings, lambda progress: None, lambda: False)
    folders = [entry.folder for _, entry in applications.of(spec, applications.own(scenario))]
    made_of = kept.digest(spec.model_dump_json(), f"{datetime.now(UTC):%G-%V}", *folders, *(REPOSITORY / part for part in SOURCES))
    version, where = int(made_of[:8], 16), load({}, state=kept.CACHE)
    with kept.locked(f"seed-{class_name}"):
        files = build(SeedJob(version, class_name, version, spec, scenario), where, lambda progress: None, lambda: False)
        kept.used(seed_folder(class_name, version, where))
    return place(files, settings, class_name)


def test_an_application_is_built_forked_and_opened(
    libvirtd: Libvirtd, provider: LibvirtProvider, request: pytest.FixtureRequest, scenario: Path, release: str, names: tuple[str, ...]
) -> None:
    settings, own = libvirtd.settings, applications.own(scenario)
    spec = described(release, names, own)
    class_name = named(release, names)
    seed = seed_of(spec, class_name, settings, scenario)
    request.addfinalizer(lambda: shutil.rmtree(seed_folder(class_name, 1, settings).parent))
    name, data = f"{class_name}/shared/snapshot-1", str(uuid.uuid4())
    opened, secrets = applications.pages(spec.model_dump(), own), list[str]()
    folders = [line.removeprefix("folder ") for line in applications.kept(spec, own) if line.startswith("folder ")]

    def machine(slot: int, snapshot: str | None = None) -> MachineSpec:
        id = str(uuid.uuid4())
        return MachineSpec(
            id=id, name=f"app-{id[:8]}", class_name=class_name, seed=f"{class_name}/1", cmdline=seed.cmdline, disk_size=spec.size.disk,
            vcpus=1, memory=spec.size.memory, card=card(settings, slot), application_port=opened[0].port, application_ready=opened[0].ready,
            boot_timeout=600, snapshot=snapshot, further=applications.further(spec.model_dump(), own),
        )  # fmt: skip

    def ask(machine: MachineSpec, command: str) -> str:
        done = provider.execute(machine.id, ["sh", "-ec", command], timeout=120)
        assert done.status == 0, (command, done)
        return done.output

    def see_secret(machine: MachineSpec) -> None:
        if "greeting" in names:
            secrets.append(ask(machine, "cat /srv/greeting/secret"))

    def forked(slot: int) -> MachineSpec:
        """One that somebody has, with the data disk; all of it answers."""
        plain = machine(slot, name)
        fork = replace(plain, data=data, data_size=1)
        request.addfinalizer(lambda: provider.destroy(fork.id))
        provider.fork(plain)
        provider.start(fork)
        provider.wait(fork, personalise=f"user {spec.user}\n{KEY}".encode())
        see_secret(fork)
        for page in opened:
            with urlopen(f"http://{fork.card.address}:{page.port}{page.path}", timeout=60) as answer:
                assert answer.status == 200
                said = answer.read().decode(errors="replace")
                assert said, f"{page.title} says nothing"
                assert SIGN_IN not in said, f"{page.title} asks who one is"
                assert page.port not in SAID or said == SAID[page.port]
        for one in names:
            assert one not in ANSWERS or ask(fork, ANSWERS[one]).split() == ["42"], one
        assert provider.execute(fork.id, ["systemctl", "is-failed", "--quiet", "*.service"]).status != 0, "a service has failed"
        return fork

    take(provider, machine(49), name, see_secret)
    provider.make_data(data, 1)
    request.addfinalizer(lambda: provider.remove_data(data))
    first = forked(5)
    told = dict(line.split(":") for line in ask(first, "cat /proc/meminfo").splitlines())
    left = int(told["MemAvailable"].split()[0]) >> 10
    print(f"{class_name} {release}: {left} of {spec.size.memory} MiB are left")
    assert left >= LEFT, "it needs more memory than it says"
    for one in names:
        ask(first, WRITES.get(one, ":"))
    for folder in folders:
        ask(first, f"for one in {folder}; do echo {MARK} > $one/{MARK}; done; sync")
    provider.destroy(first.id)
    second = forked(6)
    for folder in folders:
        assert ask(second, f"cat {folder}/{MARK}") == f"{MARK}\n", "what was written is not in its owner's next machine"
    for one in names:
        assert one not in READS or ask(second, READS[one]).split() == ["42"], one
    assert len(set(secrets)) == len(secrets), "its fork was not made another one"
    assert f"ssh_key {ask(second, f'cat /home/{spec.user}/.ssh/authorized_keys')}" == KEY
