"""Domain XML against golden files and libvirt's own schema, and defined on libvirt's test driver."""

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from appliance.hypervisor.libvirt import xml
from tests.unit.hypervisor.test_xml import DOMAINS


@pytest.mark.parametrize("name", sorted(DOMAINS))
def test_libvirts_schema_allows_it(name: str, tmp_path: Path) -> None:
    file = tmp_path / "domain.xml"
    file.write_text(xml.to_text(DOMAINS[name].to_xml()))
    done = subprocess.run(["virt-xml-validate", file, "domain"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_the_schema_is_really_asked(tmp_path: Path) -> None:
    file = tmp_path / "domain.xml"
    file.write_text(xml.to_text(DOMAINS["bare"].to_xml()).replace("<vcpu>", "<vcpus>").replace("</vcpu>", "</vcpus>"))
    assert subprocess.run(["virt-xml-validate", file, "domain"], capture_output=True).returncode != 0


def test_a_copy_of_a_disk(golden: Callable[[str, str], None], tmp_path: Path) -> None:
    text = xml.to_text(xml.CopyOfDisk("vdb", ("vda",), Path("/var/lib/dpe/data/5f0c.copying")).to_xml())
    golden("copy_of_disk.xml", text)
    file = tmp_path / "backup.xml"
    file.write_text(text)
    done = subprocess.run(["virt-xml-validate", file, "domainbackup"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
