"""Updates of the bootable image: taken in, checked, written to the other slot, switched to at a time that people are told, and back again.

Two slots hold a system each. An update is written to the one that is not booted; nothing changes until the restart that switches to it.
The first start of what is new is on trial: `health.py` says it is good, or the boot loader goes back to the slot before. Before a
switch the catalog is copied for the version that is left, which may know no newer catalog; `settle()`, at the start of either slot, puts that copy in
place where it is needed. What is remembered here lies in `<host>/updates`, small JSON files that belong to the disk with the slots.
"""

import contextlib
import os
import re
import shutil
import stat
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

from packaging.version import InvalidVersion, Version
from pydantic import AwareDatetime, BaseModel

from appliance import catalog, durable, layout, run
from appliance.catalog import Actor, EventKind, database, lineage, smoke_tests, timezone
from appliance.errors import BadInput, Conflict, DpeError, NotFound, Unavailable
from appliance.host.interface import conditions
from appliance.host.interface import updates as interface
from appliance.host.interface.updates import Back, Installed, Memory, Past, Plan, Slot, Staged, Status, Switch, Written
from appliance.host.rpc.periodic import every
from appliance.host.rpc.registry import Host, implements
from appliance.host.rpc.verb import Nothing
from appliance.host.system import events, image
from appliance.host.system.conditions import condition
from appliance.host.updates import rauc
from appliance.paths import below
from appliance.settings import Settings

COPIES = 2  # catalogs that are kept for going back
REMEMBERED = 30  # switches
ROOM = 512 << 20  # bytes that must stay free on the data partition
SOON = timedelta(seconds=5)
LATEST = timedelta(days=7)
COMMAND_LINE = Path("/proc/cmdline")
GRUB = Path("/boot/efi/EFI/debian/grubenv")
VERSION = re.compile(r"[0-9A-Za-z][0-9A-Za-z.+~_-]{0,59}")

UPDATED, ROLLED_BACK, WENT_BACK = "updated", "rolled back", "went back"


class Copied(BaseModel):
    """A catalog kept for going back to a version of the system."""

    version: str
    catalog: int
    at: AwareDatetime


M = TypeVar("M", bound=BaseModel)
_writer, _taking = threading.Lock(), threading.Lock()


# -- where it lies ---------------------------------------------------------------------------------


def folder(settings: Settings) -> Path:
    """For root alone."""
    found = settings.host / "updates"
    found.mkdir(mode=0o700, parents=True, exist_ok=True)
    return found


def pending_file(settings: Settings) -> Path:
    """A Switch, for as long as one is on trial: units look whether it is there."""
    return folder(settings) / "pending.json"


def failed_file(settings: Settings) -> Path:
    """Why what was on trial is not good, in words."""
    return folder(settings) / "failed.txt"


def bundle_file(settings: Settings) -> Path:
    return settings.updates / "staged.raucb"


def copy_folder(settings: Settings, version: str) -> Path:
    return below(settings.updates, "going-back", version)


def load(file: Path, model: type[M]) -> M | None:
    """What was stored, or None."""
    try:
        return model.model_validate_json(file.read_bytes())
    except (OSError, ValueError):  # lost or damaged: as if it had never been there
        return None


def store(file: Path, value: BaseModel) -> None:
    """Keep it for `load`."""
    durable.write(file, value.model_dump_json(indent=1))


def memory(settings: Settings) -> Memory:
    return load(folder(settings) / "memory.json", Memory) or Memory()


def remember(settings: Settings, **values: Any) -> None:
    with _writer:
        store(folder(settings) / "memory.json", memory(settings).model_copy(update=values))


def pending(settings: Settings) -> Switch | None:
    return load(pending_file(settings), Switch)


def booted_slot() -> str:
    """The slot that was booted, from the kernel's command line; empty where there are none."""
    found = re.search(r"\brauc\.slot=(\w+)", COMMAND_LINE.read_text())
    return found[1] if found else ""


def newer(version: str, other: str) -> bool:
    """Whether a version comes after another, as Python orders them: 1.2.0rc1 before 1.2.0, and 1.10 after 1.9. What is no such version comes before all."""
    return _order(version) > _order(other)


def _order(version: str) -> tuple[Version, str]:
    try:
        return Version(version.replace("~", "")), ""  # Debian's way to write a candidate: 1.2.0~rc1
    except InvalidVersion:
        return Version("0.dev0"), version


def _now() -> datetime:
    return datetime.now(UTC)


# -- catalogs kept for going back ------------------------------------------------------------------


def copies(settings: Settings) -> list[Copied]:
    """The newest first."""
    found = (load(file, Copied) for file in (settings.updates / "going-back").glob("*/about.json"))
    return sorted((one for one in found if one is not None), key=lambda one: one.at, reverse=True)


def keep_catalog(settings: Settings, version: str) -> int:
    """Copy the catalog for going back to `version`, and return the catalog's own version. The last few are kept. Raises Unavailable."""
    target = copy_folder(settings, version)
    target.mkdir(mode=0o700, parents=True, exist_ok=True)
    fresh = target / "catalog.new"
    schema = catalog.copy(settings.catalog, fresh)
    durable.replace(fresh, target / "catalog.db")
    store(target / "about.json", Copied(version=version, catalog=schema, at=_now()))
    for old in copies(settings)[COPIES:]:
        shutil.rmtree(copy_folder(settings, old.version), ignore_errors=True)
    return schema


def fitting(settings: Settings, version: str, newest: int) -> Copied | None:
    """The copy to go back to with a system that knows catalogs up to `newest`: that of its own version, else the newest that it knows."""
    fits = [one for one in copies(settings) if one.catalog <= newest]
    return next((one for one in fits if one.version == version), fits[0] if fits else None)


def _fit_catalog(settings: Settings, version: str, before: str) -> datetime | None:
    """Put a copy in the catalog's place if that is newer than this system knows; it is kept as that of `before`. Returns the copy's time."""
    if not settings.catalog.exists() or not settings.catalog.stat().st_size:
        return None
    newest = database.versions()[-1]
    if catalog.check_catalog_file(settings.catalog) <= newest:
        return None
    found = fitting(settings, version, newest)
    if found is None:
        return None  # it is refused when it is opened, with the reason; the rescue page can restore a backup
    source = copy_folder(settings, found.version) / "catalog.db"
    fresh = settings.catalog.with_suffix(".new")
    shutil.copyfile(source, fresh)
    database.make_whole(settings.catalog)  # or it would be half of one after a power cut between what follows
    keep_catalog(settings, before)
    for beside in ("-wal", "-shm"):
        settings.catalog.with_name(settings.catalog.name + beside).unlink(missing_ok=True)
    lineage.decide_beforehand(settings.mark, "adopt", f"going back to {version}")
    durable.replace(fresh, settings.catalog)
    layout.prepare(settings)  # its owner and mode
    return found.at


# -- at the start of a slot ------------------------------------------------------------------------


def settle(settings: Settings) -> None:
    """What the start of a slot means: a switch on trial, a switch that failed, or nothing. Before anything opens the catalog.

    Needs neither RAUC's service nor any other process.
    """
    here = image.boot_image()
    slot = booted_slot()
    if here is None or not slot:
        return
    known = memory(settings)
    remember(settings, versions={**known.versions, slot: here.version}, ran=slot, plan=None)
    trial = pending(settings)
    if trial is not None and trial.slot == slot:
        # Nobody put another catalog here, but one from before catalogs had an identity gets one when it is brought forward.
        lineage.decide_beforehand(settings.mark, "adopt", f"the update to {trial.version}")
        with contextlib.suppress(DpeError):  # then the copy of a moment ago is used
            if catalog.check_catalog_file(settings.catalog) == trial.catalog:
                keep_catalog(settings, trial.before)
        if put_back := _fit_catalog(settings, trial.version, trial.before):
            durable.write(folder(settings) / "put-back", put_back.isoformat())
    elif trial is not None or known.ran not in ("", slot):
        left = trial or Switch(
            before=here.version, version=known.versions.get(known.ran) or "unknown", slot=known.ran, by="the boot loader", at=_now(),
            back=False, catalog=0,
        )  # fmt: skip
        file = failed_file(settings)
        reason = file.read_text().strip() if file.exists() else "It did not start, or was cut off before it could be found good."
        end_update(settings, left, ROLLED_BACK, reason=reason, catalog_of=_fit_catalog(settings, here.version, left.version))
        file.unlink(missing_ok=True)


def _put_back(settings: Settings) -> datetime | None:
    """The time of the catalog that the start of what is on trial put in place, if it did; said once."""
    file = folder(settings) / "put-back"
    try:
        return datetime.fromisoformat(file.read_text())
    except (OSError, ValueError):
        return None
    finally:
        file.unlink(missing_ok=True)


def end_update(settings: Settings, trial: Switch, outcome: str, *, reason: str = "", catalog_of: datetime | None = None) -> None:
    """The switch has ended: remember how, tell it, and have it on trial no more."""
    catalog_of = _put_back(settings) or catalog_of
    one = Past(
        before=trial.before, version=trial.version, outcome=outcome, at=_now(), by=trial.by, reason=reason, catalog_of=catalog_of
    )  # fmt: skip
    remember(settings, past=[one, *memory(settings).past][:REMEMBERED], installed=None)
    if outcome == UPDATED:  # else it may be wanted once more
        discard(settings)
    pending_file(settings).unlink(missing_ok=True)
    _tell_end(settings, one)


def _tell_end(settings: Settings, one: Past) -> None:
    lost = f" The catalog is that of {timezone.timestamp(one.catalog_of, events.zone(settings))} again." if one.catalog_of else ""
    messages = {
        UPDATED: f"The appliance was updated from {one.before} to {one.version}.",
        WENT_BACK: f"The appliance went back from {one.before} to {one.version}.{lost}",
        ROLLED_BACK: f"The update to {one.version} was not good, and the appliance went back to {one.before} by itself: {one.reason}{lost}",
    }
    with contextlib.suppress(DpeError):  # the first to open it after a start may have to bring it forward
        catalog.open(settings.catalog)
        catalog.close()
    kind = EventKind(f"update.{one.outcome.replace(' ', '_')}")
    events.record_event(settings, kind, messages[one.outcome], actor=Actor(one.by))


# -- verbs -----------------------------------------------------------------------------------------


@implements(interface.STATUS)
def status(args: Nothing, host: Host) -> Status:
    """Everything the page shows. Outside of the bootable image only that it is not one."""
    here, settings = image.boot_image(), host.settings
    if here is None:
        return Status()
    known = memory(settings)
    problem, slots = "", list[Slot]()
    try:
        system = rauc.system()
        slots = [
            Slot(name=s.name, booted=s.booted, good=s.good, version=here.version if s.booted else known.versions.get(s.name, ""))
            for s in system.slots
        ]
    except DpeError as error:
        problem = error.message
    return Status(
        **dict(known),
        image=here,
        slots=slots,
        problem=problem,
        back=None if any(not slot.booted and slot.good is False for slot in slots) else _back(settings, known),
        trial=pending(settings),
        free=shutil.disk_usage(settings.state).free,
    )


@condition("updates")
def _condition(settings: Settings) -> conditions.Updates:
    """What waits for an admin. An update that was gone back from does, too, until it is thrown away or another one came."""
    if image.boot_image() is None:
        return conditions.Updates()
    known = memory(settings)
    staged, last = known.staged, next(iter(known.past), None)
    if staged is not None and last is not None and (last.outcome, last.version) == (ROLLED_BACK, staged.version):
        return conditions.Updates(failed=last.reason or f"Version {last.version} was not good.")
    written = known.installed
    return conditions.Updates(staged=staged.version if staged else "", written=written.version if written else "")


def _back(settings: Settings, known: Memory) -> Back | None:
    """What going back by hand leads to: its version, and the time of the catalog that comes with it, None where nothing is lost."""
    other = next((slot for slot in ("A", "B") if slot != booted_slot()), "")
    version = known.versions.get(other, "")
    if not version or known.installed is not None:
        return None
    kept = next((one for one in copies(settings) if one.version == version), None)
    same = kept is None or kept.catalog >= database.versions()[-1]
    return Back(version=version, catalog_of=None if same or kept is None else kept.at)


@implements(interface.INSPECT)
def inspect(args: interface.Sent, host: Host) -> Staged:
    """Take in a file that the web process wrote to `uploads`, if it is a good update for this appliance. Else it is gone, and why is said."""
    image.required()
    _not_while_switching(host.settings)
    return take_bundle(host.settings, host.settings.uploads / args.file, host.by)


def take_bundle(settings: Settings, file: Path, by: str) -> Staged:
    """Check a bundle and stage it; in the end it is not where it was. Raises BadInput saying what is wrong with it."""
    with _taking:
        fresh = settings.updates / "taken.raucb"
        try:
            return _take(settings, file, fresh, by)
        finally:
            remove(fresh)


def remove(path: Path) -> None:
    """Whatever is there, which the web process may have made."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _take(settings: Settings, file: Path, fresh: Path, by: str) -> Staged:
    try:
        # Out of the reach of the web process first, and never through a link that it may have put there.
        file.rename(fresh)
        handle = os.open(fresh, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        try:
            about = os.fstat(handle)
            if not stat.S_ISREG(about.st_mode) or about.st_nlink != 1:
                raise BadInput("This is no file that was sent here.", "Send it again.")
            if os.geteuid() == 0:
                os.fchown(handle, 0, 0)
            os.fchmod(handle, 0o600)
        finally:
            os.close(handle)
    except OSError as error:
        raise NotFound("The file that was sent is gone.", "Send it again.") from error
    bundle = rauc.read(fresh)
    _check(bundle)
    durable.replace(fresh, bundle_file(settings))
    facts = {name: getattr(bundle, name) for name in ("version", "built", "signed_by", "size", "system_size")}
    staged = Staged(**facts, by=by, at=_now())
    remember(settings, staged=staged)
    return staged


def _check(bundle: rauc.Bundle) -> None:
    wanted = rauc.system().compatible
    if bundle.compatible != wanted:
        raise BadInput(
            f"This is an update of another product ({bundle.compatible or 'it does not say which'}); this one is {wanted}.",
            "Take the update that is made for this appliance.",
        )
    served = image.required().scenario
    if bundle.scenario not in ("", served):
        raise BadInput(
            f"This update is for the scenario {bundle.scenario}; this appliance serves {served}.",
            "Take the update that is made for this scenario.",
        )
    if not VERSION.fullmatch(bundle.version):
        raise BadInput("The update does not say its version.", "Ask whoever made it.")


def discard(settings: Settings) -> None:
    bundle_file(settings).unlink(missing_ok=True)
    remember(settings, staged=None)


@implements(interface.DISCARD)
def _discard(args: Nothing, host: Host) -> None:
    """Throw the staged bundle away."""
    discard(host.settings)


def _not_while_switching(settings: Settings) -> None:
    if pending(settings) is not None:
        raise Conflict(
            "The last update is still being looked at.", "Wait until it is found good, or gone back from; that takes some minutes."
        )


@implements(interface.INSTALL)
def install(args: interface.Install, host: Host) -> Written:
    """Write the staged bundle to the other slot. A version that is no newer than this one only with `older`."""
    here, settings = image.required(), host.settings
    image.alone()
    _not_while_switching(settings)
    known = memory(settings)
    if known.plan is not None:
        raise Conflict("A restart is planned already.", "Call it off first.")
    staged = known.staged
    if staged is None or staged.version != args.version or not bundle_file(settings).exists():
        raise Conflict("That update is not here any more.", "Send the file again.")
    if not newer(staged.version, here.version) and not args.older:
        what = "the version that runs" if staged.version == here.version else f"older than {here.version}, which runs"
        raise Conflict(f"{staged.version} is {what}.", "Say that you want it all the same, if you do.")
    check_room(settings, settings.catalog.stat().st_size if settings.catalog.exists() else 0)
    host.tell("Checking the update once more", None)
    bundle = rauc.read(bundle_file(settings))
    _check(bundle)
    host.tell("Keeping a copy of the catalog for going back", None)
    keep_catalog(settings, here.version)
    other = rauc.system().other
    if other is None:
        raise Unavailable("There is no second slot for a system on this disk.", "Write the image to the disk anew, and restore a backup.")
    if host.cancelled.is_set():
        raise Conflict("It was cancelled; nothing was written.", "Begin again.")
    remember(settings, installed=None, versions={name: v for name, v in known.versions.items() if name != other.name})
    rauc.install(bundle_file(settings), host.tell)
    versions = {**memory(settings).versions, other.name: bundle.version}
    remember(settings, versions=versions, installed=Installed(version=bundle.version, slot=other.name, by=host.by, at=_now()))
    host.tell("It is written. It takes effect with the restart.", 100)
    events.record_event(
        settings,
        EventKind.UPDATE_INSTALLED,
        f"The update to {bundle.version} is written; it takes effect with the restart.",
        actor=Actor(host.by),
    )
    return Written(version=bundle.version)


def check_room(settings: Settings, size: int) -> None:
    """Raise Unavailable when so many bytes do not fit on the data partition."""
    free = shutil.disk_usage(settings.state).free
    if free < size + ROOM:
        raise Unavailable(
            f"There is too little room: {free >> 20} MiB are free, and {(size + ROOM) >> 20} MiB are needed.",
            "Make room: delete old seeds, kept disks or copies of data disks.",
        )


@implements(interface.RESTART)
def restart(args: interface.At, host: Host) -> Plan:
    """Restart into what is installed, at a time."""
    installed = memory(host.settings).installed
    if installed is None:
        raise Conflict("No update is written that could be switched to.", "Send one and install it first.")
    return _plan(host, Plan(version=installed.version, at=_checked(args.at), by=host.by, back=False))


@implements(interface.BACK)
def back(args: interface.At, host: Host) -> Plan:
    """Restart into the slot that ran before, at a time."""
    to = _back(host.settings, memory(host.settings))
    if to is None:
        raise Conflict("There is no version to go back to.", "Only the one that ran before this one is there.")
    other = rauc.system().other
    if other is None or other.good is False:
        raise Conflict(f"{to.version} was not good when it ran last.", "Install another update instead.")
    return _plan(host, Plan(version=to.version, at=_checked(args.at), by=host.by, back=True))


def _checked(at: datetime) -> datetime:
    if not _now() - timedelta(minutes=5) <= at <= _now() + LATEST:
        raise BadInput("The restart can be now, or at a time within a week.", "Choose another time.")
    return at


def _plan(host: Host, plan: Plan) -> Plan:
    image.required()
    _not_while_switching(host.settings)
    remember(host.settings, plan=plan)
    return plan


@implements(interface.STAY)
def stay(args: Nothing, host: Host) -> None:
    """Do not restart after all."""
    remember(host.settings, plan=None)


@every(SOON.total_seconds())
def restart_when_due(settings: Settings) -> None:
    """Switch to the other slot when the time has come."""
    plan = memory(settings).plan
    if plan is None or plan.at > _now():
        return
    try:
        switch(settings, plan)
    except DpeError as error:
        with contextlib.suppress(DpeError):
            rauc.mark("active", "booted")
        remember(settings, plan=None)
        pending_file(settings).unlink(missing_ok=True)
        message = f"The restart to {plan.version} could not be made: {error.message}"
        events.record_event(settings, EventKind.UPDATE_NO_RESTART, message, hint=error.hint)


def switch(settings: Settings, plan: Plan) -> None:
    """Have the next start boot the other slot, on trial, and restart."""
    here, slot = image.required(), booted_slot()
    other = rauc.system().other
    if other is None or not slot:
        raise Unavailable("There is no second slot for a system on this disk.")
    schema = keep_catalog(settings, here.version)
    trial = Switch(
        before=here.version, version=plan.version, slot=other.name, by=plan.by, at=_now(), back=plan.back, catalog=schema,
        makes=_makes(settings),
    )  # fmt: skip
    failed_file(settings).unlink(missing_ok=True)
    store(pending_file(settings), trial)
    remember(settings, plan=None)
    run.run(["grub-editenv", GRUB, "set", f"trial={other.name}"])
    rauc.mark("active", "other")
    events.record_event(settings, EventKind.UPDATE_RESTART, f"The appliance restarts into version {plan.version}.", actor=Actor(plan.by))
    run.run(["systemctl", "reboot"])


def _makes(settings: Settings) -> bool:
    try:
        catalog.attach(settings.catalog)
        return smoke_tests.makes()
    finally:
        catalog.close()
