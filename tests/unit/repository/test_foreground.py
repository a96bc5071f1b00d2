"""What `make run` checks before it starts anything. What it says of what does not start, and that it runs, is another tier's."""

import os
import pwd
import runpy
from pathlib import Path
from types import SimpleNamespace

import pytest

from appliance import layout, supervisor
from appliance.access import nginx
from appliance.errors import BadInput, Unavailable
from appliance.hypervisor.libvirt import daemon
from appliance.packages import sources
from appliance.settings import REPOSITORY, load

pytestmark = pytest.mark.fresh


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
        supervisor.main()
    assert masks == [0o022]


def test_a_host_without_a_mirror_is_told_before_the_wizard_unless_seeds_are_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def none(_configured: str) -> None:
        raise BadInput("This host's apt knows no mirror.", "Name one with the setting debian_mirror.")

    monkeypatch.setattr(sources, "mirror", none)
    monkeypatch.setattr(pwd, "getpwnam", lambda name: SimpleNamespace(pw_name=name, pw_uid=0))
    monkeypatch.setattr(supervisor, "_check_port", lambda *_: None)
    monkeypatch.setattr(supervisor, "LEAST_DISK", 0)
    settings = load({}, state=tmp_path / "state")
    layout.prepare(settings)
    with pytest.raises(BadInput, match="knows no mirror"):
        supervisor.check_host(settings)
    (settings.seeds / "notebook").mkdir()
    supervisor.check_host(settings)


def test_a_host_that_can_give_no_network_cards_is_told_before_the_wizard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(daemon, "TUN", tmp_path / "tun")
    monkeypatch.setattr(pwd, "getpwnam", lambda name: SimpleNamespace(pw_name=name, pw_uid=0))
    with pytest.raises(Unavailable, match="tun cannot be opened: No such file") as caught:
        daemon.prepare(load({}, state=tmp_path / "state"))
    assert "modprobe tun" in caught.value.hint
