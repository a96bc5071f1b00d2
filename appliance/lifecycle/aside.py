"""What is there and the catalog does not know: set aside, shown, and adopted or removed when an admin says so. Absence of knowledge is no order to delete.

Whatever the appliance makes has a row in the catalog before it is there, and the row of a machine stays when that is retired. So what has one, or an
id that only the appliance itself gives, is a leftover of ours; all else is set aside. A start with another catalog, or with an older copy of it, makes
nothing and removes nothing until an admin has decided what becomes of it.
"""

import contextlib
import ipaddress
import json
import logging
import re
import shutil
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

from appliance import catalog
from appliance.catalog import (
    Account,
    Actor,
    Aside,
    AsideKind,
    Class,
    DataDisk,
    DiskState,
    EventKind,
    KeptDisk,
    Lease,
    Level,
    Machine,
    MachineState,
    Request,
    RequestState,
    Seed,
    SeedState,
    Snapshot,
    SnapshotState,
    aside,
    events,
    lineage,
    machines,
    now,
    options,
    record,
    runs,
    timezone,
)
from appliance.catalog import data_disks as data_rows
from appliance.catalog.after_restore import GRACE
from appliance.catalog.aside import Key
from appliance.catalog.lineage import Mark, Standing
from appliance.errors import BadInput, Conflict, DpeError, NotFound
from appliance.hypervisor.provider import MachineFound, Power, Provider, Remains, VolumeFound, VolumeKind
from appliance.identity import quotas
from appliance.lifecycle import labels, master, outcomes, smoke_test, specs
from appliance.paths import below
from appliance.seeds.build import load_files, seed_folder, test_machine_id
from appliance.seeds.snapshot import template_id
from appliance.settings import Settings

log = logging.getLogger(__name__)

K, S = AsideKind, MachineState
LABEL_FOR = 0.2  # seconds of a tick at most that labels are written in; the rest follows in the next
MARK_EVERY = 5.0  # seconds between notes of how far the catalog has got
LOOK_EVERY = 30.0  # seconds between looks at disks and seeds
MOST_SEEDS = 200  # numbers of seeds and snapshots above those known that an older copy may not know
VOLUMES = {VolumeKind.DATA: K.DATA_DISK, VolumeKind.KEPT: K.KEPT_DISK, VolumeKind.SNAPSHOT: K.SNAPSHOT}
MADE_FOR = (S.PLANNED, S.CREATING, S.READY, S.ASSIGNED)
ON = (Power.RUNNING, Power.PAUSED)
WAITED = "It was nobody's: it waited in the buffer."
WHAT = {
    K.MACHINE: "The machine",
    K.DATA_DISK: "The data disk",
    K.KEPT_DISK: "The kept disk of",
    K.SEED: "The seed",
    K.SNAPSHOT: "The snapshot",
}
NOT_SAID = "Nothing tells whose it is."
WHY = {
    Standing.OLDER: "This is an older copy of the catalog than the one that the appliance worked with last.",
    Standing.OTHER: "This is another catalog than the one that the appliance worked with last, or a new one.",
    Standing.UNMARKED: "There are machines or disks here that this catalog does not know.",
}


@cache
def _ours(top: int) -> frozenset[str]:
    """Ids of the machines that the appliance makes for itself: of test boots, snapshots and the proof after an update."""
    numbers = range(1, top + 1)
    return frozenset({smoke_test.ID, *map(test_machine_id, numbers), *map(template_id, numbers)})


def leftovers(unknown: set[str]) -> set[str]:
    """Which of these machines are ours and over: what a killed engine left of them may go."""
    retired = {id for _, id in aside.known({(K.MACHINE, id) for id in unknown})}
    return unknown & (retired | _ours(aside.highest() + MOST_SEEDS))


@dataclass(frozen=True)
class Evidence:
    """All that tells of a thing: what is noted beside it, copies of the catalog, and itself. `source` says which of the first two `facts` are from."""

    source: str
    facts: Mapping[str, Any]
    remains: Remains
    found: MachineFound | None


class SetAside:
    """All of it, over one provider. Until `decided` nothing is made and nothing removed."""

    def __init__(self, settings: Settings, provider: Provider) -> None:
        self.settings, self.provider = settings, provider
        self.decided = False
        self._labels = labels.Labels(settings.labels)
        self._labelled = self._marked = -1  # the last event's number then
        self._marked_at = self._looked_at = float("-inf")

    # -- at a start -----------------------------------------------------------------------------

    def goes_on(self) -> bool:
        """Whether the catalog is the one that was here, so that nothing has to be decided. It needs no hypervisor."""
        if lineage.standing(mark := lineage.read_mark(self.settings.mark)) is Standing.SAME:
            self._begin(mark)
        return self.decided

    def decide(self, found: Mapping[str, MachineFound], files: set[str]) -> bool:
        """Whether work can begin. When it cannot, what is there is in the list, and an admin is asked."""
        mark = lineage.read_mark(self.settings.mark)
        stands = lineage.standing(mark)
        there = self._there(found.keys() | files)
        counts = {key for key in there if key[0] in (K.MACHINE, K.DATA_DISK, K.KEPT_DISK)}
        if not (counts - aside.known(counts) - {(K.MACHINE, id) for id in _ours(MOST_SEEDS)} if stands is Standing.UNMARKED else counts):
            self._begin(mark)  # nothing is there that could be harmed
            return True
        asked = options.get("undecided")
        if asked.get("why") != stands.value:
            asked = self._ask(stands, mark)
        if stands is not Standing.UNMARKED:
            self._correct(found, files)
        self._list(there, found)
        if choice := asked.get("choice") or (mark.decision if mark else ""):
            self._carry_out(choice, asked.get("by") or (mark.by if mark else ""))
            self._begin(mark)
        return self.decided

    def _ask(self, stands: Standing, mark: Mark | None) -> dict[str, Any]:
        asked: dict[str, Any] = {"why": stands.value, "at": now().isoformat(), "choice": "", "by": ""}
        message = f"{WHY[stands]} Nothing is made and nothing is removed until an admin has decided on the page Orphans."
        log.warning(message)
        with catalog.write():
            options.put("undecided", asked)
            noted = None if mark is None else f"generation {mark.generation}, line {mark.event} of the record"
            record(EventKind.CATALOG_UNDECIDED, message, object="catalog", noted=noted, generation=lineage.here().generation)
        return asked

    def _begin(self, mark: Mark | None) -> None:
        lineage.begin_lineage(mark)
        with catalog.write():
            if options.get("undecided"):
                options.put("undecided", {})
        self.decided = True
        self.mark(immediately=True)

    # -- at every look ---------------------------------------------------------------------------

    def mark(self, *, immediately: bool = False) -> None:
        """Note how far the catalog has got, and what it says of machines and disks."""
        if not self.decided:
            return
        moment, last = time.monotonic(), events.last_id()
        if (immediately or last != self._labelled) and self._labels.keep(None if immediately else LABEL_FOR):
            self._labelled = last  # whatever changes with a machine or disk is recorded
        if immediately or (last != self._marked and moment - self._marked_at >= MARK_EVERY):
            try:
                lineage.keep_mark(self.settings.mark, lineage.here())
            except OSError as error:  # it is only a little behind then
                log.warning("how far the catalog has got cannot be noted: %s", error)
            self._marked, self._marked_at = last, moment

    def is_due(self) -> bool:
        """Whether `look` has something to do."""
        return time.monotonic() - self._looked_at >= LOOK_EVERY or bool(aside.due_entries(now()))

    def look_again(self) -> None:
        """Look at everything at the next look, whenever that was last."""
        self._looked_at = float("-inf")

    def look(self) -> None:
        """Bring the list in line with what is there, and do what an admin wants done."""
        self._looked_at = time.monotonic()
        found = {machine.id: machine for machine in self.provider.list()}
        there = self._there(found.keys() | set(self.provider.disks()))
        self._list(there, found)
        self._labels.tidy(there)
        with catalog.write():
            aside.settle(now())
        for one in aside.everything():
            if one.kind is K.MACHINE and one.power in ON:
                self._rest(one)
        for one in aside.due_entries(now()):
            self._attend(one)

    def take_in(self, id: str) -> None:
        """A machine that nobody knows was found: it is listed, and stopped."""
        found = {machine.id: machine for machine in self.provider.list() if machine.id == id}
        if (K.MACHINE, id) in aside.known({(K.MACHINE, id)}) or not (found or id in self.provider.disks()):
            return  # adopted, or gone, meanwhile
        self._add({(K.MACHINE, id)}, found)
        for one in list(Aside.select().where(Aside.kind == K.MACHINE, Aside.id == id)):
            with catalog.write():
                Aside.update(since=now()).where(Aside.number == one.number, Aside.since.is_null()).execute()
            if one.power in ON:
                self._rest(one)

    def _rest(self, one: Aside) -> None:
        """Nobody can reach it, and its memory and address are counted nowhere, so that it must not run; what it does goes on when it is adopted."""
        try:
            self.provider.rest(one.id, memory=one.doubt != WAITED)
            power = next((found.power for found in self.provider.list() if found.id == one.id), "")
        except DpeError as error:
            with catalog.write():
                Aside.update(problem=f"It could not be stopped: {error.message}").where(Aside.number == one.number).execute()
            return
        with catalog.write():
            Aside.update(power=power, problem="").where(Aside.number == one.number).execute()

    # -- what is there ---------------------------------------------------------------------------

    def _there(self, ids: set[str]) -> set[Key]:
        """All machines, disks and seeds, known or not."""
        found: set[Key] = {(K.MACHINE, id) for id in ids}
        seeds = [folder for folder in self.settings.seeds.glob("*/*") if folder.name.isdecimal() and folder.is_dir()]
        return found | {(K.SEED, f"{folder.parent.name}/{folder.name}") for folder in seeds} | self._volumes().keys()

    def _volumes(self) -> dict[Key, VolumeFound]:
        """Disks and snapshots, without those of what is no seed."""
        every = self.provider.volumes()
        return {(VOLUMES[one.kind], one.id): one for one in every if one.kind is not VolumeKind.SNAPSHOT or _seed_of(one.id)}

    def _list(self, there: set[Key], found: Mapping[str, MachineFound]) -> None:
        """The list says what is there and unknown, and nothing else."""
        listed, known = aside.keys(), aside.known(there)
        unknown = there - known - {(K.MACHINE, id) for id in _ours(aside.highest() + MOST_SEEDS)}
        with catalog.write():
            aside.forget(listed - unknown)
            for one in list(Aside.select().where(Aside.kind == K.MACHINE)):
                power = found[one.id].power.value if one.id in found else ""
                if power != one.power:
                    Aside.update(power=power).where(Aside.number == one.number).execute()
        self._add(unknown - listed, found)

    def _add(self, keys: set[Key], found: Mapping[str, MachineFound]) -> None:
        copies, volumes = self._copies(keys), self._volumes() if keys else {}
        for key in sorted(keys):
            values = self._described(key, self._evidence(key, copies.get(key, {}), found.get(key[1]), volumes.get(key)))
            with catalog.write():
                if Aside.insert(kind=key[0], id=key[1], **values).on_conflict_ignore().execute():
                    machine = key[1] if key[0] is K.MACHINE else None
                    what = f"{WHAT[key[0]]} {values['name'] or key[1]} is here, and the catalog does not know it: it is set aside."
                    record(EventKind.ASIDE_FOUND, what, machine_id=machine, object=f"aside:{key[1]}")

    def _copies(self, keys: set[Key]) -> dict[Key, dict[str, Any]]:
        """What the newest copy that knows a thing tells of it: copies made each day, and catalogs that were put out of use."""
        folder = self.settings.state / "copies"
        files = sorted([*folder.glob("*.db"), *folder.glob("damaged-*/catalog.db")], key=lambda file: file.stat().st_mtime)
        told: dict[Key, dict[str, Any]] = {}
        for file in files if keys else ():
            told |= aside.told_by(file, keys)
        return told

    def _evidence(self, key: Key, copy: dict[str, Any], found: MachineFound | None, volume: VolumeFound | None) -> Evidence:
        kind, id = key
        label = labels.read_label(key, self.settings.labels)
        source, facts = ("label", label) if label else ("copy", copy) if copy else ("remains", {})
        remains = Remains() if volume is None else Remains(bytes=volume.bytes, made=volume.made)
        try:
            if kind is K.MACHINE:
                remains = self.provider.examine(id)
            elif kind is K.SEED:
                remains = _remains_of_seed(self._seed_folder(id))
        except (DpeError, OSError) as error:
            log.warning("%s %s cannot be looked at: %s", kind.value, id, error)
        return Evidence(source, facts, remains, found)

    def _seed_folder(self, name: str) -> Path:
        parts = name.split("/")
        if len(parts) != 2:
            raise BadInput(f"{name!r} is no seed.")
        return below(self.settings.seeds, *parts)

    def _described(self, key: Key, told: Evidence) -> dict[str, Any]:
        """A row of the list."""
        kind, id = key
        facts, remains = dict(told.facts), told.remains
        if kind in (K.SEED, K.SNAPSHOT):
            facts["class"], facts["seed"] = id.split("/")[0], int(id.split("/")[1])
        elif kind is K.MACHINE and "seed" not in facts and (base := _seed_of(remains.base)):
            facts["class"], facts["seed"] = base
        class_name = str(facts.get("class") or remains.class_name)
        facts |= {
            name: getattr(remains, name) for name in ("vcpus", "memory", "memory_room") if getattr(remains, name) and name not in facts
        }
        made, slot = facts.get("made"), facts.get("slot", specs.slot_of(remains.mac, self.settings))
        same = facts.get("catalog") == options.get("lineage")["id"]
        account = aside.account(facts.get("account"), facts.get("account_name") or "") if same else None
        return {
            "name": facts.get("name") or remains.name or (f"{class_name} v{facts['seed']}" if kind is K.SEED else ""),
            "class_name": class_name,
            "account_name": facts.get("account_name") or "",
            "account": account,
            "source": told.source,
            "doubt": self._doubt(kind, told, class_name, account, same=same),
            "slot": slot,
            "power": told.found.power.value if told.found else "",
            "base": remains.base,
            "bytes": remains.bytes,
            "facts": facts,
            "made_at": datetime.fromisoformat(made) if made else remains.made,
        }

    def _doubt(self, kind: AsideKind, told: Evidence, class_name: str, account: int | None, *, same: bool) -> str:
        """Why it is not certain for whom a thing is to be adopted, in words; empty when it is."""
        if kind in (K.SEED, K.SNAPSHOT):
            return ""
        owner = told.facts.get("account_name") or ""
        if told.source == "remains":
            return NOT_SAID
        if not owner:
            return WAITED if kind is K.MACHINE and told.source == "label" else NOT_SAID
        if Class.get_or_none(Class.name == class_name) is None:
            return f"It is {owner}'s; there is no class {class_name} here."
        if told.source == "copy":
            return f"Only a copy of the catalog says that it is {owner}'s."
        if not same:
            return f"It was {owner}'s in another catalog; whether that is the same person here only you can tell."
        return "" if account is not None else f"It is {owner}'s, who has no account here."

    # -- an older copy, which knows what was ---------------------------------------------------------

    def _correct(self, found: Mapping[str, MachineFound], files: set[str]) -> None:
        """What is noted beside machines is newer than what an older copy knows of them: whose they are now, and which are no more.

        Before anybody decides: else a door would lead into somebody else's machine.
        """
        me = options.get("lineage")["id"]
        for machine in machines.live():
            if machine.id not in found and machine.id not in files:
                if machine.state in machines.HELD:
                    outcomes.lost(machine, "It is not here. This catalog is from before it went.")
                continue
            label = labels.read_label((K.MACHINE, machine.id), self.settings.labels)
            if label.get("catalog") == me and label.get("account") not in (None, machine.owner_id):
                self._give(machine, aside.account(label["account"], label["account_name"]), label["account_name"])
            elif machine.state is S.REPROVISIONING:
                with catalog.write():
                    master.move(
                        machine.id, S.QUARANTINED, f"{machine.name} was being made anew when this catalog was copied.", level=Level.INFO
                    )
                    master.move(machine.id, S.IN_USE, f"{machine.name} is here, and is left as it is.")
        for disk in list(DataDisk.select()):
            label = labels.read_label((K.DATA_DISK, disk.id), self.settings.labels)
            if label.get("catalog") == me and label.get("account") not in (None, disk.account_id):
                self._hand_over(disk, aside.account(label["account"], label["account_name"]), label["account_name"])

    def _hand_over(self, disk: DataDisk, account: int | None, name: str) -> None:
        """A data disk is somebody else's than the catalog says. One whose owner is not here stays as it is, of nobody."""
        with catalog.write():
            new = data_rows.free_name(account, disk.class_name) if account is not None else disk.name
            DataDisk.update(account=account, name=new).where(DataDisk.id == disk.id).execute()
            if disk.account_id is not None or account is not None:
                data_rows.record_disk_event(
                    EventKind.DATA_DISK_FOLLOWED, f"The data disk {disk.name} is {name}'s: so it is noted beside it.", disk
                )

    def _give(self, machine: Machine, account: int | None, name: str) -> None:
        """A machine is somebody else's than the catalog says."""
        if machine.state in (S.RECLAIMING, S.FAILED, S.QUARANTINED):
            return
        with catalog.write():
            asked = Request.get_or_none(Request.machine == machine.id, Request.state == RequestState.GRANTED)
            if asked is not None and asked.account_id != account:
                waiting = RequestState.WAITING if machine.state is S.ASSIGNED else RequestState.CANCELLED
                Request.update(state=waiting, machine=None, granted_at=None).where(Request.id == asked.id).execute()
                runs.take_back(asked.id)
            runs.withdraw([run.id for run in runs.live_of_machine(machine.id)], "The machine was somebody else's by then.")
            machines.end_lease(machine.id, "it was somebody else's by then")
            message = f"{machine.name} is {name}'s: so it is noted beside it, and this catalog is older."
            for state in MADE_FOR[MADE_FOR.index(machine.state) + 1 :] if machine.state in MADE_FOR else ():
                master.move(machine.id, state, message, owner=account)
            if machine.state in MADE_FOR:
                master.move(machine.id, S.IN_USE, message)
            Machine.update(owner=account).where(Machine.id == machine.id).execute()
            if account is None:
                message = f"{machine.name} is {name}'s, who has no account here."
                master.move(machine.id, S.QUARANTINED, message, level=Level.INFO, problem=f"It is {name}'s.")
            else:
                machines.keep_door(machine.id, machine.class_name, account)
                _lease(machine.id, machine.machine_class, account)

    # -- what was decided -----------------------------------------------------------------------------

    def _carry_out(self, choice: str, by: str) -> None:
        """An admin has decided: `adopt` what is certain, or set all of it `aside`."""
        actor, moment = Actor(by or "engine"), now()
        everything = aside.everything()
        with catalog.write():
            runs.withdraw(runs.stale(), "The catalog was put back to before that was done.")
            Lease.update(ends_at=moment + GRACE, warned_at=None, idle_warned_at=None, busy_at=None).where(
                Lease.ended_at.is_null(), Lease.ends_at < moment + GRACE
            ).execute()
            KeptDisk.update(until=moment + GRACE).where(KeptDisk.until < moment + GRACE).execute()
            aside.number_above(max([int(found[1]) for one in everything if (found := re.search(r"-(\d+)$", one.name))], default=0))
        order = (K.SEED, K.DATA_DISK, K.KEPT_DISK, K.MACHINE)
        certain = [one for kind in order for one in everything if one.kind is kind and not one.doubt] if choice == "adopt" else []
        adopted = 0
        for one in certain:
            try:
                if aside.by_number(one.number):  # else it came with another
                    self._adopt(one, actor)
                adopted += one.kind is not K.SEED
            except DpeError as error:
                with catalog.write():
                    Aside.update(problem=str(error)).where(Aside.number == one.number).execute()
        with catalog.write():
            aside.settle(moment)
            left = Aside.select().where(Aside.kind.in_([K.MACHINE, K.DATA_DISK, K.KEPT_DISK])).count()
            message = f"The appliance goes on with this catalog: {adopted} machines and disks were adopted, {left} are set aside."
            hint = f"Every lease lasts {GRACE // timedelta(hours=1)} hours at least."
            record(EventKind.CATALOG_DECIDED, message, actor, object="catalog", hint=hint)

    def _attend(self, one: Aside) -> None:
        """Adopt or remove one, because somebody wants it or its time is over."""
        actor = Actor(one.wished_by or "engine")
        try:
            if one.wish == "adopt":
                self._adopt(one, actor)
            else:
                self._remove(one, actor)
        except DpeError as error:
            since = now() if one.wish != "adopt" and not one.wish else one.since  # one that is over, and cannot go, is tried again then
            with catalog.write():
                Aside.update(wish="", wished_by="", problem=str(error), since=since).where(Aside.number == one.number).execute()

    # -- removing --------------------------------------------------------------------------------------

    def _remove(self, one: Aside, actor: Actor) -> None:
        key = (one.kind, one.id)
        if one.kind is K.MACHINE:
            self.provider.destroy(one.id)
        elif one.kind is K.DATA_DISK:
            self.provider.remove_data(one.id)
        elif one.kind is K.KEPT_DISK:
            self.provider.forget_kept(one.id)
        elif aside.is_base(one.id):
            raise Conflict("A machine that is set aside lies on it.", "Adopt or remove that first.")
        elif one.kind is K.SNAPSHOT:
            self.provider.remove_snapshot(one.id)
        else:
            shutil.rmtree(self._seed_folder(one.id), ignore_errors=True)
        labels.file_of(key, self.settings.labels).unlink(missing_ok=True)
        with catalog.write():
            aside.forget([key])
            why = "" if one.wish else ": its time was over"
            message = f"{WHAT[one.kind]} {one.name or one.id}, which was set aside, is removed{why}."
            machine = one.id if one.kind is K.MACHINE else None
            record(EventKind.ASIDE_REMOVED, message, actor, machine_id=machine, object=f"aside:{one.id}")

    # -- adopting --------------------------------------------------------------------------------------

    def _adopt(self, one: Aside, actor: Actor) -> None:
        """Make it what it was, of its account. Raises DpeError, changing nothing, when that cannot be."""
        {K.MACHINE: self._adopt_machine, K.DATA_DISK: self._adopt_data, K.KEPT_DISK: self._adopt_kept, K.SEED: self._adopt_seed}[one.kind](
            one, actor
        )

    def _owner(self, one: Aside) -> Account:
        account = Account.get_or_none(Account.id == one.account_id, Account.disabled == False)  # noqa: E712
        if account is None:
            raise NotFound("It is not said whose it is.", "Choose an account that may sign in.")
        return account

    def _class(self, name: str) -> Class:
        found = Class.get_or_none(Class.name == name)
        if found is None:
            raise NotFound(f"There is no class {name} here.", "Put it back into the scenario, then adopt it.")
        return found

    def _done(self, one: Aside, message: str, actor: Actor, **of: Any) -> None:
        aside.forget([(one.kind, one.id)])
        record(EventKind.ASIDE_ADOPTED, message, actor, object=f"aside:{one.id}", **of)

    def _seed(self, class_name: str, version: int | None) -> Seed:
        """The seed that something lies on, which is adopted when it is here and unknown."""
        machine_class = self._class(class_name)
        if version is None:
            raise NotFound("It is not known which seed it was made from.", "It can be removed, or kept as it is.")
        seed = aside.seed(machine_class.name, version)
        if seed is None:
            files = load_files(machine_class.name, version, self.settings)
            with catalog.write():
                seed = Seed.create(
                    machine_class=machine_class.name,
                    version=version,
                    state=SeedState.READY,
                    stored=True,
                    manifest=files.manifest,
                    ended_at=now(),
                )
                aside.forget([(K.SEED, f"{machine_class.name}/{version}")])
                record(
                    EventKind.SEED_ADOPTED,
                    f"The seed {machine_class.name} v{version}, which is here, is known again.",
                    class_name=machine_class.name,
                    seed_id=seed.id,
                )
        if seed.state is not SeedState.READY or not seed_folder(machine_class.name, version, self.settings).exists():
            raise NotFound(f"The seed {class_name} v{version} is not here any more.", "Without it the machine cannot start again.")
        return seed

    def _adopt_seed(self, one: Aside, _actor: Actor) -> None:
        self._seed(one.class_name, one.facts["seed"])

    def _adopt_data(self, one: Aside, actor: Actor) -> None:
        account, machine_class = self._owner(one), self._class(one.class_name)
        size = self.provider.data_size(one.id)
        with catalog.write():
            name = (
                one.name
                if one.name and one.name not in data_rows.names(account.id)
                else data_rows.free_name(account.id, machine_class.name)
            )
            DataDisk.create(id=one.id, account=account, machine_class=machine_class.name, name=name, size=size, state=DiskState.READY)
            self._done(one, f"The data disk {name} is known again, as {account.name}'s.", actor, class_name=machine_class.name)

    def _adopt_kept(self, one: Aside, actor: Actor) -> None:
        account, seed = self._owner(one), self._seed(one.class_name, one.facts.get("seed"))
        until = max(now() + GRACE, datetime.fromisoformat(one.facts["until"]) if "until" in one.facts else now())
        with catalog.write():
            KeptDisk.create(
                id=one.id, machine_name=one.name or one.id, account=account, machine_class=one.class_name, seed=seed, data_id=one.facts.get("data"),
                size=self.provider.kept_size(one.id), bytes=one.bytes, until=until,
            )  # fmt: skip
            self._done(one, f"The kept disk of {one.name} is known again, as {account.name}'s.", actor, class_name=one.class_name)

    def _adopt_machine(self, one: Aside, actor: Actor) -> None:
        account, machine_class, facts = self._owner(one), self._class(one.class_name), one.facts
        seed = self._seed(machine_class.name, facts.get("seed"))
        if not one.name:
            raise NotFound("Its name is not known.", "It can be removed, or kept as it is.")
        if Machine.get_or_none(Machine.name == one.name) is not None:
            raise Conflict(f"There is another machine with the name {one.name}.", "It can be adopted under no other.")
        found = {machine.id: machine for machine in self.provider.list()}
        slot = self._free_slot(one, found.keys() | set(self.provider.disks()))
        data = facts.get("data")
        if data and (unknown := Aside.get_or_none(Aside.kind == K.DATA_DISK, Aside.id == data)):
            unknown.account = account
            self._adopt_data(unknown, actor)
        power, size = found[one.id].power if one.id in found else Power.OFF, machine_class.spec["size"]
        state = {Power.RUNNING: S.IN_USE, Power.PAUSED: S.IN_USE, Power.SAVED: S.SUSPENDED}.get(power, S.STOPPED)
        with catalog.write():
            snapshot = self._snapshot(one, seed)
            machine = Machine.create(
                id=one.id, name=one.name, machine_class=machine_class.name, seed=seed, slot=slot, door=machines.free_door(slot), state=state, owner=account, snapshot=snapshot,
                origin="fork" if snapshot else "boot", vcpus=facts.get("vcpus") or size["vcpus"], memory=facts.get("memory") or size["memory"], memory_room=facts.get("memory_room", 0),
                disk=facts.get("disk") or size["disk"], created_at=one.made_at or now(), ready_at=now(),
            )  # fmt: skip
            machines.keep_door(machine.id, machine_class.name, account.id)
            ends = _lease(machine.id, machine_class, account.id)
            if data:
                DataDisk.update(machine=machine.id).where(DataDisk.id == data, DataDisk.account == account.id).execute()
            message = f"{one.name} is known again, as {account.name}'s; their lease ends {timezone.timestamp(ends)}."
            self._done(one, message, actor, machine_id=machine.id, class_name=machine_class.name)

    def _snapshot(self, one: Aside, seed: Seed) -> Snapshot | None:
        """The snapshot that a fork lies on, which has to stay as long as it does."""
        if not one.base.rpartition("/")[2].startswith("snapshot-"):
            return None
        found: Snapshot | None = Snapshot.get_or_none(Snapshot.name == one.base)
        if found is None:
            found = Snapshot.create(seed=seed, state=SnapshotState.STALE, name=one.base, ended_at=now())
            aside.forget([(K.SNAPSHOT, one.base)])
        return found

    def _free_slot(self, one: Aside, there: set[str]) -> int:
        """Its own slot, which it has an address by; what only an older copy has in it, and is not here, moves on."""
        free = machines.next_slots(2, self.settings.slots)
        if one.slot is None:
            if one.power in ON or one.power == Power.SAVED:
                raise Conflict("Its address is not known.", "Remove it, or keep it as it is.")
            if not free:
                raise Conflict("There are as many machines as there can be.", "Have some given back.")
            return free[0]
        other = machines.in_slot(one.slot)
        if other is not None:
            elsewhere = [slot for slot in free if slot != one.slot]
            if other.id in there or not elsewhere:
                address = ipaddress.ip_address(self.settings.address(one.slot))
                raise Conflict(f"Its address {address} is {other.name}'s at present.", "Adopt it when that machine is given back.")
            with catalog.write():
                Machine.update(slot=elsewhere[0]).where(Machine.id == other.id).execute()
        return one.slot


def _lease(machine_id: str, machine_class: Class, account: int) -> datetime:
    """A lease as long as a new one, and a day at least; returns its end. Call it inside `write()`."""
    minutes = quotas.allowance(account, machine_class.name, quotas.size_of(machine_class)).lease(machine_class.lease_minutes)
    ends = now() + max(timedelta(minutes=minutes), GRACE)
    Lease.create(machine=machine_id, account=account, ends_at=ends)
    return ends


def _remains_of_seed(folder: Path) -> Remains:
    """What a seed's files tell."""
    made = datetime.fromtimestamp(folder.lstat().st_mtime, UTC)
    with contextlib.suppress(OSError, ValueError, LookupError, TypeError):
        made = datetime.fromisoformat(json.loads((folder / "seed.json").read_bytes())["built"])
    return Remains(bytes=sum(file.lstat().st_blocks * 512 for file in (folder, *folder.rglob("*"))), made=made)


def _seed_of(base: str) -> tuple[str, int] | None:
    """Class and version of the seed that a disk lies on, itself or through a snapshot; None when that cannot be told."""
    class_name, _, rest = base.partition("/")
    version = rest.partition("/")[0]
    return (class_name, int(version)) if version.isdecimal() else None
