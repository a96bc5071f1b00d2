"""README.md's commands on bare Debians, as they stand there."""

import json
import re
import shlex
import ssl
from collections.abc import Iterator
from http.client import HTTPSConnection
from pathlib import Path
from urllib.parse import urljoin, urlsplit

import pytest

from appliance.run import run
from tests.fresh import programs
from tests.fresh.bare import Bare, Typed, bare, readme_commands
from tests.image import forms

pytestmark = [pytest.mark.fresh, pytest.mark.timeout(1800)]

# A shell of root's as one finds it: no folders of root's programs, a locale that was never made, new files for root alone; and paths that
# are not absolute.
ODD = {"PATH": "/usr/local/bin:/usr/bin:/bin", "LC_ALL": "de_DE.UTF-8", "LANG": "de_DE.UTF-8"}
ODD |= {"DPE_STATE": "state", "DPE_SCENARIO": "tests/scenarios/small"}


@pytest.fixture
def bookworm() -> Iterator[Bare]:
    with bare("bookworm") as tree:
        yield tree


@pytest.fixture
def trixie() -> Iterator[Bare]:
    with bare("trixie") as tree:
        yield tree


def start(tree: Bare, before: str = "", env: dict[str, str] | None = None, cwd: str = "/root") -> Typed:
    """Type README.md's commands, and wait for the appliance and its wizard."""
    commands = readme_commands()
    assert len(commands) == 2, commands
    typed = "\n".join([before, *commands]).replace("<this repository>", "/srv/dpe.git")
    running = tree.begin(typed, {**tree.settings(), **(env or {})}, cwd)
    installed, runs = running.until("starting libvirtd", 540), running.until("The appliance runs.", 60)
    print(json.dumps({"installed_s": round(installed, 1), "runs_s": round(runs, 1)}))
    assert running.silence("Installing Python packages", "starting libvirtd") < 10
    assert forms.Visitor(tree).ask("/").where == "/setup"
    return running


def stop(tree: Bare, running: Typed) -> None:
    """Ctrl-C, and nothing is left: no process, and no network."""
    running.interrupt()
    assert "\nstopped." in running.said, running.said[-2000:]
    assert tree.processes() == []
    assert f"{tree.network}-out" not in run(["ip", "-brief", "link"])


def assert_nothing_new_starts_at_boot(tree: Bare, before: dict[str, str]) -> None:
    of_systemd = tree.shell("dpkg-query --listfiles systemd systemd-sysv udev 2>/dev/null || true")
    new = {link: to for link, to in tree.boot_links().items() if link not in before and f"/{Path(to).name}\n" not in of_systemd}
    assert new == {}
    assert not (tree.root / "usr/sbin/policy-rc.d").exists()


def lists_of_mirrors(tree: Bare) -> None:
    """Give its apt what it has as Debian's images for clouds do: lists of mirrors."""
    apt = tree.root / "etc/apt"
    sources = apt / "sources.list"
    for address in set(re.findall(r"https?://\S+", sources.read_text())):
        file = apt / "mirrors" / f"{Path(address).name}.list"
        file.parent.mkdir(exist_ok=True)
        file.write_text(f"{address}\n")
        sources.write_text(re.sub(rf"{re.escape(address)}(?=\s)", f"mirror+file:/etc/apt/mirrors/{file.name}", sources.read_text()))


def application(visitor: forms.Visitor, address: str) -> str:
    """What a browser shows at the application's address, wherever that leads it."""
    for _ in range(8):
        parts = urlsplit(address)
        connection = HTTPSConnection("127.0.0.1", parts.port, timeout=60, context=ssl._create_unverified_context())
        cookies = "; ".join(f"{name}={value}" for name, value in visitor.cookies.items())
        connection.request("GET", (parts.path or "/") + (f"?{parts.query}" if parts.query else ""), headers={"Cookie": cookies})
        answer = connection.getresponse()
        body = answer.read().decode()
        connection.close()
        for kept in answer.headers.get_all("Set-Cookie") or []:
            name, _, value = kept.partition(";")[0].partition("=")
            visitor.cookies[name] = value
        if answer.status not in (302, 303):
            assert answer.status == 200, body[-2000:]
            return body
        address = urljoin(address, answer.headers["Location"])
    raise AssertionError(f"{address} leads nowhere")


def test_on_debian_12_from_an_odd_shell_to_a_machine(bookworm: Bare) -> None:
    before = bookworm.boot_links()
    lists_of_mirrors(bookworm)
    running = start(bookworm, "umask 077", ODD, "/srv")
    assert (bookworm.root / "srv/dpe/state/catalog/catalog.db").exists()
    # As Debian's own package makes it, which keeps what it finds.
    assert bookworm.shell("id -un 64055; id -gn libvirt-qemu; id -Gn libvirt-qemu; getent group 64055").split() == [
        "libvirt-qemu", "kvm", "kvm", "libvirt-qemu", "libvirt-qemu:x:64055:libvirt-qemu",
    ]  # fmt: skip
    code = re.search(r"Setup code: (\S+)", running.said)
    assert code
    grace = forms.set_up(bookworm, pools={"small": (1, 1)}, code=code[1])

    def ready() -> forms.Page | None:
        page = grace.ask("/")
        assert "failed" not in grace.ask("/setup/progress").text
        return page if "1 ready, yours at once" in page.text else None

    grace.send(forms.wait_for(ready, 300, "a machine"), "/request", **{"class": "small"})
    opens = forms.wait_for(lambda: re.search(r'<a class="btn btn-primary" href="(https://[^"]+)"', grace.ask("/").text), 60, "the machine")
    assert "grace" in application(grace, opens[1])
    stop(bookworm, running)
    assert_nothing_new_starts_at_boot(bookworm, before)


def test_on_debian_13_as_written_and_for_each_program_that_tests_start(trixie: Bare) -> None:
    before = trixie.boot_links()
    assert_a_small_machine_is_refused(trixie)
    stop(trixie, start(trixie))
    assert_nothing_new_starts_at_boot(trixie, before)
    trixie.begin("make setup STATE=/mnt/dpe UNDERSIZED=yes", cwd="/root/dpe").end(60)  # where there is as little disk as before
    for_tests = trixie.begin("make setup-test", cwd="/root/dpe")
    for_tests.end(540)
    print(json.dumps({"installed_for_tests_s": round(for_tests.lines[-1][0], 1)}))
    assert_nothing_new_starts_at_boot(trixie, before)
    wanted = [name for name, package in programs.PROGRAMS.items() if package in programs.BASE | programs.brought()]
    assert trixie.shell(f"for name in {' '.join(wanted)}; do command -v $name >/dev/null || echo $name; done") == ""
    # They need no network but loopback.
    tests = shlex.join(["-n0", "--quiet", *programs.STARTED_BY.values(), *programs.ALSO])
    alone = "unshare --net -- sh -euc 'ip link set lo up && exec .venv/bin/python -m pytest \"$@\"' sh"
    print(trixie.begin(f"{alone} {tests}", cwd="/root/dpe").end(540).splitlines()[-1])


def assert_a_small_machine_is_refused(tree: Bare) -> None:
    """With less memory or disk than README.md says that is needed, nothing is downloaded."""
    tree.shell("git clone --quiet /srv/dpe.git /tmp/dpe; mount -t tmpfs -o size=64m none /mnt")
    small_disk = tree.begin("make run STATE=/mnt/dpe", cwd="/tmp/dpe").end(60, status=2)
    assert re.search(r"\d+ MiB are free in /mnt, and 10240 MiB are needed\. .*UNDERSIZED=yes", small_disk)
    tree.shell("printf 'MemTotal: 2000000 kB\\n' >/tmp/meminfo; mount --bind /tmp/meminfo /proc/meminfo")
    small_memory = tree.begin("make run", cwd="/tmp/dpe").end(60, status=2)
    assert re.search(r"1953 MiB of memory are here, and 4096 MiB are needed\. .*UNDERSIZED=yes", small_memory)
    tree.shell("umount /proc/meminfo")
    assert "Installing" not in small_disk + small_memory
