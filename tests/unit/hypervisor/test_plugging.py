"""A data disk that a start which was cut off was just plugging in: libvirt does the rest by itself, and the next start finds it."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from appliance.errors import Conflict
from appliance.hypervisor.libvirt import machines
from appliance.hypervisor.libvirt.machines import Machines

ON, OFF = SimpleNamespace(isActive=lambda: True), SimpleNamespace(isActive=lambda: False)


def check(monkeypatch: pytest.MonkeyPatch, domain: Any, *plugged: bool) -> None:
    def used(_path: Path) -> None:
        raise Conflict("The data disk is in use by something else.")

    looks = iter(plugged)
    monkeypatch.setattr(machines.disks, "check", used)
    monkeypatch.setattr(machines, "has_disk", lambda *_: next(looks, False))
    connection = SimpleNamespace(until=lambda ready, _deadline, _pause: any(ready() for _ in range(3)))
    Machines._check_free(SimpleNamespace(_connection=connection), domain, Path("disk"))  # type: ignore[arg-type]


def test_it_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    check(monkeypatch, ON, False, False, True)


@pytest.mark.parametrize("domain", [ON, OFF, None])
def test_one_that_something_else_uses_is_said_to_be(monkeypatch: pytest.MonkeyPatch, domain: Any) -> None:
    with pytest.raises(Conflict, match="in use by something else"):
        check(monkeypatch, domain)
