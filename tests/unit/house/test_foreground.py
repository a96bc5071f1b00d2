"""What `make run` checks before it starts anything, and what it says of what does not start. That it runs is another tier's."""

import os
import pwd
import runpy
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from appliance import foreground, layout
from appliance.access import nginx
from appliance.errors import BadInput, Unavailable
from appliance.foreground import Appliance, Child
from appliance.hypervisor import daemon
from appliance.seeds import sources
from appliance.settings import REPOSITORY, load

pytestmark = pytest.mark.fresh


@pytest.fixture
def appliance(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Appliance]:
    """An appliance of one part, which is this shell script."""
    settings = load({}, state=tmp_path)
    settings.logs.mkdir()
    monkeypatch.setattr(foreground, "PATIENCE", 0.3)

    def begin(script: str) -> Appliance:
        built = Appliance.__new__(Appliance)
        built.settings, built.told = settings, {}
        built.stopping = foreground.threading.Event()
        settings.run.mkdir(exist_ok=True)
        built.children = [Child("part", ["sh", "-c", script], lambda: False)]
        return built

    return begin


def test_what_does_not_start_is_shown_with_its_own_last_words(appliance: Callable[[str], Appliance]) -> None:
    begun = appliance("seq 100; echo 'There is no user libvirt-qemu.' >&2; exit 3")
    (begun.settings.logs / "part.log").write_text("what it said an hour ago\n")
    with pytest.raises(Unavailable) as caught:
        begun.start()
    said = str(caught.value)
    assert "part did not start: it ended with status 3. It said:" in said
    assert "100\nThere is no user libvirt-qemu.\n" in said
    assert "an hour ago" not in said
    assert len(said.splitlines()) < foreground.LAST_WORDS + 5
    assert str(begun.settings.logs / "part.log") in caught.value.hint


def test_what_says_nothing_or_never_comes_is_shown_so(appliance: Callable[[str], Appliance]) -> None:
    with pytest.raises(Unavailable, match=r"it ended with status 0\. It said nothing\."):
        appliance("true").start()
    begun = appliance("echo waiting for a card; exec sleep 60")
    with pytest.raises(Unavailable, match=r"it cannot be used after 0 s\. It said:\nwaiting for a card"):
        begun.start()
    begun.children[0].stop()


def test_every_part_says_what_ails_it_where_it_is_shown() -> None:
    assert daemon.LIBVIRTD_CONF["log_outputs"] == "3:stderr"
    assert nginx.command(load({}))[-2:] == ["-e", "stderr"]
    served = runpy.run_path(str(REPOSITORY / "webui/gunicorn.conf.py"))
    assert {"errorlog", "logconfig", "capture_output", "daemon"}.isdisjoint(served)  # it says all on its error stream


def test_a_shell_that_keeps_new_files_to_itself_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    masks = []
    monkeypatch.setattr(os, "geteuid", lambda: 1000)  # it ends right after
    monkeypatch.setattr(os, "umask", masks.append)
    with pytest.raises(SystemExit):
        foreground.main()
    assert masks == [0o022]


def test_a_host_without_a_mirror_is_told_before_the_wizard_unless_seeds_are_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def none(_configured: str) -> None:
        raise BadInput("This host's apt knows no mirror.", "Name one with the setting debian_mirror.")

    monkeypatch.setattr(sources, "mirror", none)
    monkeypatch.setattr(pwd, "getpwnam", lambda name: SimpleNamespace(pw_name=name))
    monkeypatch.setattr(foreground, "_check_port", lambda *_: None)
    monkeypatch.setattr(foreground, "LEAST_DISK", 0)
    settings = load({}, state=tmp_path / "state")
    layout.prepare(settings)
    with pytest.raises(BadInput, match="knows no mirror"):
        foreground.check(settings)
    (settings.seeds / "notebook").mkdir()
    foreground.check(settings)


def test_a_host_that_can_give_no_network_cards_is_told_before_the_wizard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(daemon, "TUN", tmp_path / "tun")
    monkeypatch.setattr(pwd, "getpwnam", lambda name: SimpleNamespace(pw_name=name))
    with pytest.raises(Unavailable, match="tun cannot be opened: No such file") as caught:
        daemon.prepare(load({}, state=tmp_path / "state"))
    assert "modprobe tun" in caught.value.hint
