"""A seed as a layer upon its operating system: what all seeds of a release have, our role in it included, is kept as an archive of its root file system,
and a build goes on from there with the packages and roles that are its own.

The archive is unpacked for each build, so that no seed needs it, or another one, once it is made: it may be removed at any time. It is as old as a bootstrap at
most, a week, and made anew when our own role or playbook changes.
"""

import hashlib
import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from appliance.packages import sources
from appliance.seeds import recipe
from appliance.seeds.sandbox import Sandbox, hand_over

if TYPE_CHECKING:
    from appliance.seeds.build import _Build

OWN = ("guest",)  # the roles of every seed
QUIET = {"DEBIAN_FRONTEND": "noninteractive", "DEBCONF_NONINTERACTIVE_SEEN": "true"}
# What mmdebstrap tells apt as well, see build.BOOTSTRAP.
APT = ("apt-get", "--quiet", "--yes", *(word for option in (
    "Acquire::Languages=none", "Acquire::Retries=3", "APT::Sandbox::User=root", "APT::Install-Recommends=false",
    "DPkg::Options::=--path-exclude=/usr/share/doc/*", "DPkg::Options::=--path-include=/usr/share/doc/*/copyright",
    "DPkg::Options::=--path-exclude=/usr/share/man/*", "DPkg::Options::=--path-exclude=/usr/share/info/*",
    "DPkg::Options::=--path-exclude=/usr/share/locale/*", "DPkg::Options::=--path-include=/usr/share/locale/locale.alias",
) for word in ("--option", option)))  # fmt: skip


def kept(build: "_Build") -> Path:
    """Where the operating system of this build is kept: beside the bootstrap that it is made from, and as long."""
    below, user = build.kept(), build.job.spec.user
    session = "libpam-systemd" in build.own_packages  # which our role asks for
    key = json.dumps([below.name, user, session, recipe.ours()])
    return below.with_name(f"{build.suite}-base-{hashlib.sha256(key.encode()).hexdigest()[:16]}.tar")


def steps(build: "_Build") -> int:
    """How many steps there are besides the tasks and the test boot."""
    return (1 if _is_kept(build) else 3) + bool(own(build)) + 2


def own(build: "_Build") -> list[str]:
    """The packages of the class that its operating system does not have."""
    return [name for name in build.own_packages if name not in sources.BASE_PACKAGES]


def _is_kept(build: "_Build") -> bool:
    return not build.job.fresh and kept(build).exists()


def lay(build: "_Build") -> None:
    """Have the root file system of the operating system, kept or made now, and the class's own packages upon it."""
    archive = kept(build)
    if _is_kept(build):
        build.step("Unpack the operating system", lambda: build.unpack(archive))
    else:
        _make(build, archive)
    if packages := own(build):
        build.step(f"Install {len(packages)} more packages and what they need", lambda: _install(build, packages))


def _make(build: "_Build", archive: Path) -> None:
    """Make the operating system, and keep it; its root file system is the one that this build goes on with."""
    usual = build.runner
    build.runner = build.work / "runner-base"
    job = {**build.description(OWN), "skip": ["image"]}
    build.count(job)
    build.root()
    build.play(job)
    build.runner = usual
    build.step("Keep the operating system for other builds", lambda: _keep(build, archive))
    build.description()  # which names the class's own roles again


def _keep(build: "_Build", archive: Path) -> None:
    made = hand_over(build.work / "base")
    create = ["tar", "--create", "--numeric-owner", "--xattrs", "--xattrs-include=*", f"--file={made / 'base.tar'}"]
    build.execute([*create, f"--directory={build.tree}", "."], build.sandbox(made, build.work / "tree"))
    build.keep(made / "base.tar", archive)


def _install(build: "_Build", packages: list[str]) -> None:
    """Debian's own programs, in the tree: what a package does when it is installed is no more than what a role may do."""
    mirror = sources.mirror(build.settings.debian_mirror)

    def inside() -> Sandbox:
        return replace(build.sandbox(build.work / "tree"), tree=build.tree, hosts=mirror.hosts, environment=QUIET)

    build.execute(["chroot", build.tree, *APT, "update"], inside())
    build.execute(["chroot", build.tree, *APT, "install", "--", *packages], inside())
