"""The setting `provider` names what runs machines; another package brings another one, installed as pip would."""

import sys
import tomllib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from appliance.errors import BadInput
from appliance.hypervisor.libvirt.provider import LibvirtProvider
from appliance.hypervisor.providers import GROUP, SHIPPED, open_provider, provider_service
from appliance.settings import REPOSITORY, Settings

MODULE = """
def connect(settings):
    return f"machines in {settings.network}"

def service(settings):
    return None
"""


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Install a package that brings the provider `hay`: a module and its dist-info on the path."""
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "haystack", raising=False)

    def do(module: str) -> None:
        (tmp_path / "haystack.py").write_text(module)
        info = tmp_path / "haystack-1.dist-info"
        info.mkdir()
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: haystack\nVersion: 1\n")
        (info / "entry_points.txt").write_text(f"[{GROUP}]\nhay = haystack\n")

    return do


def test_the_one_that_ships_is_libvirt_and_needs_its_libvirtd(settings: Settings) -> None:
    provider, service = open_provider(settings), provider_service(settings)
    assert isinstance(provider, LibvirtProvider)
    assert service is not None
    assert (service.name, service.user, service.socket.name) == ("libvirtd", "dpe-qemu", "libvirt-sock")
    assert service.remove == (*service.command, "--remove")


def test_it_is_declared_as_every_other_one_is() -> None:
    declared = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]["entry-points"]
    assert declared[GROUP] == SHIPPED


def test_another_package_brings_another_one(settings: Settings, install: Callable[[str], None]) -> None:
    install(MODULE)
    chosen = replace(settings, provider="hay")
    assert open_provider(chosen) == f"machines in {settings.network}"
    assert provider_service(chosen) is None
    assert isinstance(open_provider(settings), LibvirtProvider)


@pytest.mark.badinput
def test_who_names_none_is_told_which_there_are(settings: Settings, install: Callable[[str], None]) -> None:
    install(MODULE)
    with pytest.raises(BadInput, match="'hya'") as caught:
        open_provider(replace(settings, provider="hya"))
    assert ", ".join(sorted(["hay", *SHIPPED])) in caught.value.hint


@pytest.mark.badinput
def test_one_that_cannot_be_loaded_is_named(settings: Settings, install: Callable[[str], None]) -> None:
    install("import no_such_module")
    with pytest.raises(BadInput, match=r"hay cannot be loaded.*no_such_module"):
        open_provider(replace(settings, provider="hay"))
