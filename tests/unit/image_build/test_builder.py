"""The parts of the image's builder that need no tree."""

import sys
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization

from appliance.errors import BadInput
from appliance.settings import REPOSITORY

sys.path.append(str(REPOSITORY / "image-build"))

import build
import disk
import keys
import sbom
import tools


@pytest.mark.parametrize("name", ["packages-image", "packages-tools"])
def test_every_package_is_in_a_group_that_says_why(name: str) -> None:
    groups = (REPOSITORY / "image-build" / name).read_text().split("\n\n")
    for group in groups:
        assert group.startswith("# "), group
    assert len(tools.packages(REPOSITORY / "image-build" / name)) > 10


def test_what_compiles_is_not_in_the_image() -> None:
    image = set(tools.packages(REPOSITORY / "image-build/packages-image"))
    assert not {name for name in image if name.endswith("-dev") or name in ("gcc", "make", "python3-pip")}


def test_the_environment_block_of_grub_has_its_size() -> None:
    block = disk.grubenv({"ORDER": "A B", "A_OK": "1"})
    assert len(block) == 1024
    assert block.startswith(b"# GRUB Environment Block\nORDER=A B\nA_OK=1\n#")


def test_keys_are_made_once_and_vouch_for_each_other(tmp_path: Path) -> None:
    folder = tmp_path / "keys"
    keys.ensure(folder)
    ca, signing = (x509.load_pem_x509_certificate((folder / name).read_bytes()) for name in (keys.CA, keys.CERTIFICATE))
    signing.verify_directly_issued_by(ca)
    key = serialization.load_pem_private_key((folder / keys.KEY).read_bytes(), None)
    assert key.public_key() == signing.public_key()
    assert (folder / keys.KEY).stat().st_mode & 0o777 == 0o600
    before = (folder / keys.KEY).read_bytes()
    keys.ensure(folder)
    assert (folder / keys.KEY).read_bytes() == before


def test_half_a_set_of_keys_is_refused(tmp_path: Path) -> None:
    (tmp_path / keys.CA).write_text("")
    with pytest.raises(BadInput, match="lacks one of"):
        keys.ensure(tmp_path)
    assert [file.name for file in tmp_path.iterdir()] == [keys.CA]


@pytest.mark.parametrize(
    ("text", "licences"),
    [
        ("Files: *\nCopyright: me\nLicense: GPL-2+\n\nFiles: x\nLicense: Expat\n text\n", ["Expat", "GPL-2+"]),
        ("It is in /usr/share/common-licenses/GPL-3.\n", ["GPL-3"]),
        ("Permission is hereby granted, free of charge, to any person\n", ["MIT"]),
        ("in common-licenses/GPL-2.\n Redistribution and use in binary form, without modification, are\n", ["redistributable"]),
        ("free of any license fees, to any person obtaining a copy\n", ["redistributable"]),
        ("All rights reserved.\n", []),
    ],
)
def test_licences_are_read_from_what_debian_writes(tmp_path: Path, text: str, licences: list[str]) -> None:
    (tmp_path / "copyright").write_text(text)
    assert sbom.copyrights(tmp_path) == licences


def test_what_is_laid_is_roots_and_readable_whatever_the_checkout_says(tmp_path: Path) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    (source / "deep/__pycache__").mkdir(parents=True)
    (source / "deep/__pycache__/x.pyc").touch()
    (source / "deep/run").write_text("#!/bin/sh\n")
    (source / "deep/run").chmod(0o700)
    (source / "file").write_text("new")
    (source / "file").chmod(0o600)
    (source / "link").symlink_to("file")
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere/role").write_text("linked")
    (source / "linked").symlink_to("../elsewhere")
    (source / "away").symlink_to("../elsewhere/role")
    (source / "mask").symlink_to("/dev/null")
    target.mkdir()
    kept = tmp_path / "kept"
    kept.write_text("old")
    (target / "file").hardlink_to(kept)  # as a tree that was copied by links has it
    tools.lay(source, target)
    assert (target / "file").read_text() == "new"
    assert kept.read_text() == "old"
    assert (target / "file").stat().st_mode & 0o777 == 0o644
    assert (target / "deep/run").stat().st_mode & 0o777 == 0o755
    assert (target / "link").is_symlink()
    assert (target / "mask").readlink() == Path("/dev/null")
    for copied in ("linked/role", "away"):
        assert (target / copied).read_text() == "linked"
        assert not (target / copied).is_symlink()
    assert not (target / "deep/__pycache__").exists()


def test_an_unknown_scenario_is_named() -> None:
    with pytest.raises(BadInput, match="There is no scenario nonsense"):
        build.parse(["nonsense"])


def test_a_scenario_is_a_name_or_a_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(build, "state_of_sources", lambda: ("abc", 1, 1))
    assert build.parse(["notebook"]).name == "dpe-notebook"
    job = build.parse([str(REPOSITORY / "tests/scenarios/small"), "--version", "1.2.3", "--quick", "--no-seeds"])
    assert (job.name, job.version, job.quick, job.seeds) == ("dpe-small", "1.2.3", True, False)
