"""An index as apt reads it from a mirror that is signed; what is not signed, or not as it was signed, is never read. And what packages bring, as apt has it."""

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from appliance.errors import Unavailable
from appliance.packages import Index, refresh
from appliance.packages.refresh import Job
from appliance.run import run
from appliance.settings import environment, load
from tests import packages

SUITES = ("trixie", "trixie-updates")
NEWER = {
    "Package": "git",
    "Version": "2.0-1",
    "Architecture": "amd64",
    "Section": "vcs",
    "Size": "1",
    "Installed-Size": "1",
    "Filename": "pool/git.deb",
    "SHA256": "0" * 64,
    "Description": "newer",
}


@pytest.fixture(scope="module")
def key(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with a key that signs, and `key.gpg`, with which that is checked."""
    folder = tmp_path_factory.mktemp("gpg")
    folder.chmod(0o700)
    gpg(folder, "--quick-generate-key", "mirror@example.org", "ed25519", "sign", "never")
    gpg(folder, "--export", "--output", folder / "key.gpg")
    yield folder
    run(["gpgconf", "--homedir", folder, "--kill", "all"])


def gpg(folder: Path, *words: str | Path) -> None:
    run(["gpg", "--homedir", folder, "--batch", "--yes", "--pinentry-mode", "loopback", "--passphrase", "", *words])


@pytest.fixture
def job(tmp_path: Path, key: Path) -> Job:
    """A mirror of few packages, one of them newer in its updates, and what reads it."""
    top, work = tmp_path / "mirror", tmp_path / "work"
    work.mkdir()
    packages.mirror(top, {"trixie": packages.text(packages.stanzas()), "trixie-updates": packages.text([NEWER])})
    for suite in SUITES:
        sign(top, suite, key)
    trusted = tmp_path / "key.gpg"
    trusted.write_bytes((key / "key.gpg").read_bytes())
    lines = [f"deb [signed-by={trusted}] file:{top} {suite} main" for suite in SUITES]
    return Job(lines, str(tmp_path / "debian-13.db"), str(work))


def sign(top: Path, suite: str, key: Path) -> None:
    release = top / "dists" / suite / "Release"
    gpg(key, "--clearsign", "--output", release.with_name("InRelease"), release)


def test_what_a_mirror_signed_is_read_with_the_version_that_apt_would_install(job: Job) -> None:
    job.run_aside(environment(load({}, state=Path(job.work))))
    index = Index(Path(job.file))
    found = index.package("git")
    assert found is not None
    assert (found.version, found.summary, index.count) == ("2.0-1", "newer", len(list(packages.stanzas())))
    assert index.description("adminer") == packages.DESCRIPTIONS[packages.PHP]
    assert [one.name for one in index.search("sqlite").packages] == ["adminer"]
    assert index.mirror.startswith("file:")
    index.close()


@pytest.mark.hostile
@pytest.mark.parametrize("fault", ["changed", "unsigned", "other key", "away"])
def test_what_is_not_as_it_was_signed_is_not_read(job: Job, key: Path, fault: str, tmp_path: Path) -> None:
    Path(job.file).write_text("the one before")
    suite = tmp_path / "mirror/dists/trixie"
    if fault == "changed":
        packed = suite / "main/binary-amd64/Packages"
        packed.write_bytes(packed.read_bytes()[:-1] + b"\1")
    elif fault == "unsigned":
        (suite / "InRelease").unlink()
    elif fault == "other key":
        job = replace(job, lines=[re.sub(r"\[.*?\] ", "", line) for line in job.lines])  # the keys of this host
    else:
        (suite / "InRelease").unlink()
        (suite / "Release").unlink()
    with pytest.raises(Unavailable, match="The package index was not read") as refused:
        job.run_aside(environment(load({}, state=Path(job.work))))
    assert "debian_mirror" in refused.value.hint
    assert Path(job.file).read_text() == "the one before"
    assert not list(tmp_path.glob("*.new"))


def test_what_packages_bring_is_what_apt_would_install(job: Job) -> None:
    job.run()
    index, work = Index(Path(job.file)), Path(job.work)
    base = [one["Package"] for one in packages.stanzas() if (found := index.package(one["Package"])) and found.base]
    for names in (["postgresql"], ["git", "less"], ["adminer"]):
        with_them, without = (simulated(work, [*base, *more]) for more in (names, []))
        assert set(index.bring(names).packages) == with_them - without, names
    index.close()


def simulated(work: Path, names: list[str]) -> set[str]:
    """What apt would install into an empty system."""
    said = run(
        ["apt-get", *refresh.options(work), "-o", "APT::Install-Recommends=false", "--simulate", "install", *names],
        env={"APT_CONFIG": str(work / "apt.conf")},
    )
    return set(re.findall(r"^Inst (\S+)", said, re.MULTILINE))
