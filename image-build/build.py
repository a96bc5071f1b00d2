"""`make image`: the bootable image of a scenario, its manifest, and the bundle that updates an appliance to it. README.md tells how.

Stages are kept in build/stages under a digest of what they were made from, so that after a change of the product only what
follows from that is made again.
"""

import argparse
import fcntl
import hashlib
import json
import os
import sys
import time
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import disk
import keys
import sbom
from appliance import durable
from appliance.errors import BadInput, DpeError
from appliance.host.interface.system import Image
from appliance.run import run
from appliance.scenario.load import load as load_scenario
from appliance.seeds import recipe, shipped
from appliance.seeds.build import SeedFiles, SeedJob, build, load_files, seed_folder
from appliance.settings import REPOSITORY
from appliance.settings import load as load_settings
from tools import bootstrap, copy, digest, inside, kept, lay, remove, say

HERE = REPOSITORY / "image-build"
CLIENT = REPOSITORY / "appliance/client"  # what becomes a wheel of its own
PRODUCT = Path("usr/lib/dpe")
VENV = f"/{PRODUCT}/.venv"
# Runs in the tools' tree. setuptools stays behind, and pip does not, which builds of seeds fetch wheels with; what was compiled loses the names of
# the folders it was compiled in.
INSTALL = f"""
rm -rf {VENV}; mkdir -p /{PRODUCT}
python3 -m venv {VENV}
pip="{VENV}/bin/python -m pip install --quiet --no-cache-dir --no-compile --disable-pip-version-check"
$pip --require-hashes -r /build/requirements-build.lock
$pip --require-hashes --no-build-isolation -r /build/requirements.lock
{VENV}/bin/python -m pip wheel --quiet --no-deps --no-build-isolation --no-index --wheel-dir {VENV}/share/dpe /build/client
{VENV}/bin/python -m pip uninstall --quiet --yes setuptools
find {VENV} -name '*.so' -exec strip --strip-unneeded {{}} +
find {VENV} -name __pycache__ -prune -exec rm -rf {{}} +
python3 -m compileall -q -j 2 --invalidation-mode unchecked-hash {VENV}/lib
rm -rf /build/venv-new; cp -a {VENV} /build/venv-new; rm -rf {VENV}
"""
# What Debian's packages leave that is another in each image, or that nobody needs in one that is never changed by packages.
TIDY = (
    "etc/machine-id",
    "etc/resolv.conf",
    "etc/hostname",
    "etc/mtab",
    "etc/passwd-",
    "etc/shadow-",
    "etc/group-",
    "etc/gshadow-",
    "etc/subuid-",
    "etc/subgid-",
    "etc/apt/sources.list.d",
    "etc/cron.d",
    "etc/cron.daily",
    "etc/logrotate.d",
    "etc/nginx/sites-enabled",
    "etc/systemd/system",
    "etc/init.d",
    *(f"etc/rc{level}.d" for level in "0123456S"),
    "initrd.img",
    "initrd.img.old",
    "vmlinuz",
    "vmlinuz.old",
    "usr/share/doc-base",
    "usr/share/lintian",
    "usr/share/bug",
)
# Runs in the finished tree. A mistake in the rules of the packet filter must not show only when the server starts.
SETTLE = f"""
systemd-sysusers
systemctl preset-all
systemctl set-default multi-user.target
[ ! -e /etc/nftables.conf ] || nft --check --file /etc/nftables.conf
python3 -m compileall -q -j 2 --invalidation-mode unchecked-hash /{PRODUCT}/appliance /{PRODUCT}/webui /{PRODUCT}/playbooks
"""
# AppArmor profiles of Debian's that concern nothing in the image are a second of each boot.
PROFILES = ("abi", "abstractions", "tunables", "local", "libvirt", "disable", "force-complain")


@dataclass(frozen=True)
class Job:
    """What to make. `quick` makes the disk alone: no compressed file, manifest or bundle."""

    scenario: Path
    build: Path
    keys: Path
    version: str
    commit: str
    epoch: int
    seeds: bool
    quick: bool
    level: int

    @property
    def name(self) -> str:
        return f"dpe-{self.scenario.name}"

    @property
    def stages(self) -> Path:
        return self.build / "stages"

    @property
    def work(self) -> Path:
        return self.build / "work" / self.name

    def image(self) -> Image:
        return Image(
            version=self.version, built_at=datetime.fromtimestamp(self.epoch, UTC), scenario=self.scenario.name, commit=self.commit
        )


@contextmanager
def stage(name: str) -> Iterator[None]:
    begun = time.monotonic()
    yield
    say(f"{name}: {time.monotonic() - begun:.1f} s")


def wheels(tools: Path, job: Job) -> Path:
    """The virtual environment with the locked packages, and the command's wheel, made at its final place in the tools' tree."""
    locks = [(REPOSITORY / name).read_text() for name in ("requirements-build.lock", "requirements.lock")]
    client = {
        str(file.relative_to(CLIENT)): file.read_text()
        for file in sorted(CLIENT.rglob("*.*"))
        if file.suffix in (".py", ".toml", ".md", ".yml")
    }
    place = job.stages / f"venv-{digest(locks, client, INSTALL, tools.name)}"
    if venv := kept(place):
        return venv
    for name in ("requirements-build.lock", "requirements.lock"):
        (job.stages / name).write_bytes((REPOSITORY / name).read_bytes())
    remove(job.stages / "client")
    for name, text in client.items():
        (job.stages / "client" / name).parent.mkdir(parents=True, exist_ok=True)
        (job.stages / "client" / name).write_text(text)
    inside(tools, ["sh", "-euc", INSTALL], build=job.stages, network=True, env={"SOURCE_DATE_EPOCH": str(job.epoch)})
    durable.replace(job.stages / "venv-new", place)
    return place


def seeds(job: Job) -> list[SeedFiles]:
    """The seeds of the scenario, each kept as long as what it is made from stays the same."""
    # The longest path in it is that of a socket of ansible-runner's.
    settings = load_settings(state=job.build / "seeds" / job.scenario.name, scenario=job.scenario)
    settings.state.mkdir(mode=0o711, parents=True, exist_ok=True)
    scenario = load_scenario(job.scenario)
    made = []
    for class_name, spec in scenario.scenario.classes.items():
        wanted, version = recipe.digest(spec, job.scenario), 1
        folder = seed_folder(class_name, version, settings)
        if folder.exists() and load_files(class_name, version, settings).manifest.get("recipe") != wanted:
            remove(folder)
        if not folder.exists():
            say(f"seed of {class_name}")
        task = SeedJob(1, class_name, version, spec, job.scenario)
        made.append(build(task, settings, lambda at: say(f"  {at.task_number}/{at.task_total} {at.task_name}"), lambda: False))
    return made


def configure(tree: Path, system: Path, venv: Path, job: Job) -> None:
    """The root file system: Debian's packages, ours over them, and nothing of the host that builds."""
    remove(tree)
    copy(system, tree)
    for name in TIDY:
        remove(tree / name)
    for key in (tree / "etc/ssh").glob("ssh_host_*"):  # Debian's SSH server makes some when it is installed; ours has its own
        remove(key)
    profiles = tree / "etc/apparmor.d"
    for profile in profiles.iterdir():
        if profile.name not in PROFILES:
            remove(profile)
    sysimage = tree / "usr/lib/sysimage"
    sysimage.mkdir(exist_ok=True)
    (tree / "var/lib/dpkg").rename(sysimage / "dpkg")
    share = tree / "usr/share/dpe"
    share.mkdir()
    (tree / "var/lib/smartmontools").rename(share / "smartmontools")
    for path in (tree / "var", tree / "tmp", tree / "run"):
        for entry in path.iterdir():
            remove(entry)
    for kind in ("vmlinuz", "initrd.img"):
        found = sorted((tree / "boot").glob(f"{kind}-*"))
        (tree / "boot" / kind).symlink_to(found[-1].name)
    lay(HERE / "files", tree)
    (tree / "etc/machine-id").touch()
    (tree / "etc/mtab").symlink_to("../proc/self/mounts")
    (tree / "etc/resolv.conf").symlink_to("../run/systemd/resolve/resolv.conf")
    (tree / "boot/efi").mkdir(exist_ok=True)
    (tree / "etc/systemd/system").mkdir(exist_ok=True)
    install(tree / PRODUCT, venv, job)
    environment = tree / "etc/dpe/environment"
    environment.parent.mkdir(exist_ok=True)
    scenario = f"/{PRODUCT}/playbooks/scenarios/{job.scenario.name}"
    given = environment.read_text() if environment.exists() else ""
    environment.write_text(f"{given}DPE_STATE=/var/lib/dpe\nDPE_HTTPS_PORT=443\nDPE_SCENARIO={scenario}\n")
    (tree / "etc/rauc/keyring.pem").write_bytes((job.keys / keys.CA).read_bytes())
    inside(tree, ["sh", "-euc", SETTLE])
    for backup in (tree / "etc").glob("*-"):
        remove(backup)
    for path in (tree / "root").iterdir():
        remove(path)


def install(product: Path, venv: Path, job: Job) -> None:
    """The product, with the one scenario that this image is for."""
    for part in ("appliance", "webui"):
        lay(REPOSITORY / part, product / part, skip=("__pycache__", "node_modules"))
    lay(REPOSITORY / "playbooks", product / "playbooks", skip=("__pycache__", "scenarios"))
    lay(job.scenario, product / "playbooks/scenarios" / job.scenario.name)
    copy(venv, product / ".venv")
    for packages in (product / ".venv/lib").glob("python3*/site-packages"):
        (packages / "dpe.pth").write_text(f"/{PRODUCT}\n")  # what starts elsewhere, like a module of Ansible's, finds the product, too
    (product / "image.json").write_text(job.image().model_dump_json() + "\n")


def compress(job: Job, image: Path) -> Path:
    made = image.with_suffix(".img.zst")
    there = [f"/build/{path.relative_to(job.build)}" for path in (image, made)]
    inside(tools_of(job), ["zstd", "--quiet", "--force", "--threads=0", f"-{job.level}", there[0], "-o", there[1]], build=job.build)
    return made


def bundle(maker: disk.Maker, job: Job, root: Path) -> Path:
    """The signed bundle that puts this system into the other slot of an appliance."""
    content = job.work / "bundle"
    remove(content)
    content.mkdir()
    os.link(root, content / "rootfs.img")
    image = job.image()
    manifest = {
        "update": {"compatible": "dpe-appliance", "version": image.version, "build": image.built_at.isoformat()},
        "bundle": {"format": "verity"},
        "image.rootfs": {"filename": "rootfs.img"},
        "meta.dpe": {"scenario": image.scenario, "commit": image.commit, "size": str(root.stat().st_size)},
    }
    text = "\n".join(
        f"[{section}]\n" + "".join(f"{name}={value}\n" for name, value in values.items()) for section, values in manifest.items()
    )
    (content / "manifest.raucm").write_text(text)
    made = job.build / f"{job.name}.raucb"
    remove(made)
    private = job.build / "work/keys"  # in the folder that the tools' tree sees, for the moment of signing
    remove(private)
    private.mkdir(mode=0o700)
    try:
        for name in (keys.CA, keys.CERTIFICATE, keys.KEY):
            (private / name).write_bytes((job.keys / name).read_bytes())
        there = maker.there(private)
        signed = [f"--cert={there}/{keys.CERTIFICATE}", f"--key={there}/{keys.KEY}", f"--keyring={there}/{keys.CA}"]
        squashed = f"--mksquashfs-args=-comp zstd -Xcompression-level {min(job.level, 15)}"
        maker.run("rauc", "bundle", *signed, squashed, maker.there(content), maker.there(made))
    finally:
        remove(private)
    return made


def tools_of(job: Job) -> Path:
    return bootstrap("tools", HERE / "packages-tools", job.stages)


def make(job: Job) -> Path:
    """Everything; returns the image."""
    keys.ensure(job.keys)
    job.work.mkdir(parents=True, exist_ok=True)
    with stage("packages"):
        system = bootstrap("system", HERE / "packages-image", job.stages)
        tools = tools_of(job)
    with stage("Python packages"):
        venv = wheels(tools, job)
    made = []
    if job.seeds:
        with stage("seeds"):
            made = seeds(job)
    tree = job.work / "root"
    with stage("configuration"):
        configure(tree, system, venv, job)
        for seed in made:
            shipped.export(seed, tree / "usr/share/dpe/seeds")
    maker = disk.Maker(tools, job.build, job.epoch)
    image, root = job.build / f"{job.name}.img", job.work / "root.img"
    with stage("image"):
        disk.file_system(maker, tree, root)
        disk.assemble(maker, job.work, root, HERE / "grub.cfg", image)
    if not job.quick:
        with stage("manifest"):
            manifest = job.build / f"{job.name}.cdx.json"
            manifest.write_text(json.dumps(sbom.describe(tree, venv, made, job.image()), indent=1) + "\n")
        with stage("compression"):
            packed = compress(job, image)
        with stage("bundle"):
            signed = bundle(maker, job, root)
        sums = job.build / f"{job.name}.sha256"
        sums.write_text("".join(f"{checksum(file)}  {file.name}\n" for file in (image, packed, signed, manifest)))
    remove(tree)
    return image


def checksum(file: Path) -> str:
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def state_of_sources() -> tuple[str, int, int]:
    """Commit, its time and how many came before it; without git an empty one, and now."""
    try:
        commit, when = run(["git", "-C", REPOSITORY, "log", "-1", "--format=%h %ct"]).split()
        changed = run(["git", "-C", REPOSITORY, "status", "--porcelain"]).strip()
        return commit + ("+" if changed else ""), int(when), int(run(["git", "-C", REPOSITORY, "rev-list", "--count", "HEAD"]))
    except DpeError:
        return "", int(time.time()), 0


def parse(arguments: list[str]) -> Job:
    parser = argparse.ArgumentParser(prog="make image", description=__doc__)
    parser.add_argument("scenario", nargs="?", default="notebook", help="a name below playbooks/scenarios, or a folder")
    parser.add_argument("--build", type=Path, default=REPOSITORY / "build", help="where to make it")
    parser.add_argument("--keys", type=Path, help="folder of the keys that sign updates; made in build/keys if not given")
    parser.add_argument("--version", default="", help="like 1.4.0; counted from the commits if not given")
    parser.add_argument("--no-seeds", action="store_true", help="bake no seeds: the appliance builds them, which needs a Debian mirror")
    parser.add_argument("--quick", action="store_true", help="the disk alone: no compressed file, manifest or bundle")
    parser.add_argument("--level", type=int, default=9, help="of the compression, 1 to 19")
    given = parser.parse_args(arguments)
    named = REPOSITORY / "playbooks/scenarios" / given.scenario
    folder = named if named.is_dir() else Path(given.scenario)
    if not (folder / "scenario.yml").is_file():
        raise BadInput(f"There is no scenario {given.scenario}.", "Name one below playbooks/scenarios, or a folder with a scenario.yml.")
    commit, when, count = state_of_sources()
    version = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]["version"]
    build = given.build.resolve()
    return Job(
        scenario=folder.resolve(),
        build=build,
        keys=(given.keys or build / "keys").resolve(),
        version=given.version or f"{version}.{count}",
        commit=commit,
        epoch=int(os.environ.get("SOURCE_DATE_EPOCH", when)),
        seeds=not given.no_seeds,
        quick=given.quick,
        level=given.level,
    )


def main() -> None:
    os.umask(0o022)  # what is in an image does not depend on the shell that it was made from
    try:
        if os.geteuid() != 0:
            raise BadInput("Making an image needs root.", "Run it with sudo, or as root.")
        job = parse(sys.argv[1:])
        job.build.mkdir(parents=True, exist_ok=True)
        with (job.build / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            image = make(job)
        print(image)
    except DpeError as error:
        say(f"make image: {error}")
        sys.exit(1)


if __name__ == "__main__":
    main()
