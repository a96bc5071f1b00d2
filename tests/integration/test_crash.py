"""The engine killed with -9 at every step of every sequence that is shipped, one after the other: at one of its points by turns, in `make soak` at each.

The engine, its catalog and its runner are real, and so are the process and the signal; machines are files in a folder, which
outlive it as real ones do (tests/disk_provider.py). Real machines are in test_kills.py. After each kill the next engine brings
things to their end, and all that there is then must be as it is without the kill.
"""

import json
import multiprocessing
import os
import shutil
import signal
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from appliance import catalog, layout
from appliance.catalog import (
    Account,
    Actor,
    Class,
    Grant,
    KeptDisk,
    Lease,
    Machine,
    MachineState,
    Request,
    Run,
    Seed,
    SeedState,
    Sequence,
    Step,
    StepState,
    VersionState,
    WorkItem,
    data_disks,
    database,
    machines,
    now,
    options,
    runs,
    sequences,
)
from appliance.catalog import seeds as seed_rows
from appliance.identity import secrets
from appliance.outbound import mail
from appliance.services import inbox, moves, recovery
from appliance.services import machines as verbs
from appliance.settings import Settings
from appliance.settings import load as load_settings
from appliance.workflow import load, sequence
from appliance.workflow.master import master
from tests import crashing, disk_provider
from tests.post import Post, office
from tests.unit.conftest import SPEC

OF_A_STEP = int(os.environ.get("DPE_TEST_POINTS", "1"))

pytestmark = [pytest.mark.crash, pytest.mark.workflow, pytest.mark.timeout(1800)]

S = MachineState
PATIENCE = 30  # seconds for a machine of files to come to rest
BARE = "bare"  # no sequence at all
SHIPPED = [BARE, *sorted(file.stem for file in load.FOLDER.glob("*.yml") if file.stem != "master")]
context = multiprocessing.get_context("forkserver")
context.set_forkserver_preload(["tests.crashing"])


def always(name: str) -> dict[str, sequence.Around]:
    """A shipped sequence without its conditions and pauses, so that every step is done, and at once."""
    found: dict[str, sequence.Around] = {}
    if name == BARE:
        return found
    for move, around in load.load(load.FOLDER / f"{name}.yml").moves.items():
        parts = {
            part: [
                activity.model_copy(
                    update={"when": sequence.When(), "with_": activity.with_ | ({"time": "1s"} if activity.kind == "wait" else {})}
                )
                for activity in getattr(around, part)
            ]
            for part in ("before", "after")
        }
        found[move] = sequence.Around.model_validate(
            {part: [a.model_dump(by_alias=True) for a in chosen] for part, chosen in parts.items()}
        )
    return found


@dataclass(frozen=True)
class Case:
    """One place to be killed at: a step of a move of a shipped sequence."""

    sequence: str
    move: str
    step: str
    point: str


# From which state each move is made, and how somebody asks for it.
BEGINS: dict[str, str] = {
    "make": "none",
    "assign": "none",
    "stop": "in_use",
    "suspend": "in_use",
    "reprovision": "in_use",
    "transfer": "in_use",
    "reclaim": "in_use",
    "start": "stopped",
    "resume": "suspended",
    "recover": "kept",
}


def points(number: int) -> list[str]:
    """At which points the step of this number is killed: all steps together see each of them."""
    return [crashing.POINTS[(number + turn) % len(crashing.POINTS)] for turn in range(OF_A_STEP)]


def cases() -> list[Case]:
    """Every step, and some or all points of it; what two sequences have in common is tried once."""
    found: dict[tuple[Any, ...], list[Case]] = {}
    for name in SHIPPED:
        body = sequence.dump(always(name))
        for move in BEGINS:
            planned_steps = sequence.planned_steps(move, body)
            same = (move, tuple((planned.name, planned.kind.name, str(planned.options)) for planned in planned_steps))
            found.setdefault(same, [Case(name, move, planned.name, "") for planned in planned_steps])
    steps = [case for some in found.values() for case in some]
    return [replace(case, point=point) for number, case in enumerate(steps) for point in points(number)]


class Place:
    """A state directory with an appliance of files in it."""

    def __init__(self, state: Path, post: Post) -> None:
        self.state, self.post = state, post
        self.settings: Settings = load_settings({}, state=state, network="crash", slots=50)
        self.engine: Any = None

    def open(self) -> None:
        catalog.open(self.settings.catalog)
        secrets.open(self.settings.web_secret)

    def make(self, sequence_name: str) -> None:
        """A catalog with a class that follows the sequence, and people."""
        layout.prepare(self.settings)
        self.settings.web_secret.write_bytes(b"0" * 32)
        self.open()
        with catalog.write():
            options.put("setup_done", True)
            options.put("mail", {"on": True, "server": self.server(), "password": ""})
            Sequence.create(name=sequence_name, title=sequence_name)
            sequences.add(sequence_name, sequence.dump(always(sequence_name)), VersionState.PROMOTED)
            for name in ("alice", "bob", "boss"):
                Account.create(name=name, password="!", email=f"{name}@example.org")
            Grant.create(role="owner", account=self.actor("boss").account_id)
            for name in ("alice", "bob"):
                Grant.create(role="user", account=self.actor(name).account_id)
            Class.create(
                name="small", spec=SPEC | {"user": "user", "boot_timeout": 60}, minimum=0, maximum=4, buffer=0, lease_minutes=60,
                extend_minutes=30, extensions=2, per_person=2, fork=False, readiness="running", sequence=sequence_name, data_disk=1,
            )  # fmt: skip
            seed_rows.promote(Seed.create(machine_class="small", version=1, state=SeedState.READY, stored=True))
        catalog.close()

    def server(self) -> dict[str, Any]:
        """The mail server of the test, as the settings page would keep it."""
        entered = {
            "host": "127.0.0.1",
            "port": str(self.post.port),
            "security": "none",
            "authority": "",
            "user": "",
            "sender": "dpe@example.org",
        }
        return asdict(mail.server(entered))

    @staticmethod
    def actor(name: str) -> Actor:
        account = Account.get(Account.name == name)
        return Actor(account.name, account.id)

    # -- the engine -------------------------------------------------------------------------

    def start(self, point: tuple[str, str, str] = ("", "", "")) -> None:
        self.engine = context.Process(target=crashing.run, args=(str(self.state), point), daemon=True)
        self.engine.start()

    def end(self) -> None:
        if self.engine is not None:
            self.engine.terminate()
            self.engine.join(20)
            # With nothing left to do it may be ended before it has begun.
            assert self.engine.exitcode in (0, -signal.SIGTERM), (self.state / "engine.log").read_text()[-3000:]
            self.engine = None

    def killed(self) -> bool:
        return bool(self.engine.exitcode == -signal.SIGKILL)

    # -- what people do ---------------------------------------------------------------------

    def ask(self, move: str) -> None:
        alice = self.actor("alice")
        match move:
            case "make":
                with catalog.write():
                    Class.update(buffer=1).execute()
            case "assign":
                verbs.request(alice, "small")
            case "reclaim":
                verbs.release(alice, Machine.get(Machine.owner == alice.account_id).id)
            case "keep":
                moved = {"reclaim": {"before": [{"name": "keep", "kind": "keep_disk", "with": {"days": 7}}]}}
                with catalog.write():
                    Sequence.create(name="keeping", title="Keeping")
                    sequences.add("keeping", json.dumps(moved), VersionState.PROMOTED)
                    Class.update(sequence="keeping").execute()
                verbs.release(alice, Machine.get(Machine.owner == alice.account_id).id)
            case "recover":
                recovery.bring_back_kept(alice, KeptDisk.get().id)
            case "transfer":
                moves.transfer(self.actor("boss"), Machine.get(Machine.owner == alice.account_id).id, "bob")
            case _:
                moves.plain(alice, Machine.get(Machine.owner == alice.account_id).id, move)

    def answer(self) -> None:
        """Whoever is asked says yes."""
        for todo in runs.open_work_items():
            inbox.decide(self.actor("boss"), todo.id, yes=True, comment="")

    def until_rest(self) -> None:
        deadline = time.monotonic() + PATIENCE
        while True:
            self.answer()
            # In this order: a machine that is planned meanwhile is one that moves.
            wanted = Class.get().buffer and not Machine.select().where(Machine.state != S.RETIRED).count()
            live = [(run.kind, run.position, run.why) for run in Run.select().where(Run.ended_at.is_null())]
            moving = set(machines.counts().get("small", {})) - {S.READY, S.IN_USE, S.STOPPED, S.SUSPENDED}
            swept = (
                not data_disks.due_disks() and not data_disks.kept_over(now()) and not database.rows("SELECT 1 FROM outgoing_mail LIMIT 1")
            )
            if not live and not moving and not wanted and swept:
                return
            assert time.monotonic() < deadline, f"{live} {moving}: {(self.state / 'engine.log').read_text()[-3000:]}"
            time.sleep(0.01)  # another process is at work; nobody rings for us

    # -- what there is ------------------------------------------------------------------------

    def mailed(self) -> dict[str, int]:
        """How many different messages were sent to whom about what; the same one twice is what a kill in between may do."""
        found: dict[str, set[str]] = {}
        for message in self.post.taken:
            found.setdefault(f"{message['To']}: {message['Subject']}", set()).add(message["Message-ID"])
        return {about: len(ids) for about, ids in found.items()}

    def picture(self) -> dict[str, Any]:
        """All that there is, without names and times that differ from one time to the next."""
        number = {machine.id: machine.number for machine in Machine.select()}
        world = disk_provider.store(self.settings.state / "world")
        skipped = (StepState.UNDONE,)
        return {
            "machines": [(m.number, m.state.value, m.owner_id, m.readiness, m.origin) for m in Machine.select().order_by(Machine.number)],
            "leases": [(number[lease.machine_id], lease.account_id, lease.end_reason) for lease in Lease.select().order_by(Lease.id)],
            "requests": [(r.account_id, r.state.value, number.get(r.__data__["machine"])) for r in Request.select().order_by(Request.id)],
            "runs": [(r.kind, r.state.value, number.get(r.machine_id)) for r in Run.select().order_by(Run.kind, Run.id)],
            "steps": sorted(
                (s.run.kind, s.number, s.name, s.state.value) for s in Step.select(Step, Run).join(Run) if s.state not in skipped
            ),
            "todos": [(t.title, t.state.value) for t in WorkItem.select().order_by(WorkItem.title)],
            "domains": sorted((number[id], found.power.value) for id, found in world.domains.items()),
            "files": sorted(number[id] for id in world.files),
            "data": sorted((disk.size, number.get(disk.holder, 0)) for disk in world.data.values()),
            "kept": sorted(number.get(of, 0) for of in world.kept.values()),
            "mail": sorted(self.mailed().items()),
            "unsent": sorted(database.rows("SELECT subject FROM outgoing_mail")),
            "events": sorted(
                database.rows(
                    "SELECT kind, count(*) FROM event WHERE kind LIKE 'machine.%' OR kind LIKE 'step.%' OR kind LIKE 'todo.%' GROUP BY kind"
                )
            ),
        }


def copy(state: Path, to: Path) -> None:
    """A state directory as it lies on disk, without what is no file."""
    shutil.rmtree(to, ignore_errors=True)
    shutil.copytree(state, to, ignore=lambda folder, names: [name for name in names if (Path(folder) / name).is_socket()])


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """The one state directory in which everything happens, as paths are part of what is known."""
    with office() as post:
        yield Place(tmp_path_factory.mktemp("crash") / "state", post)
    catalog.close()


@pytest.fixture(scope="module")
def beginnings(place: Place, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """State directories of each sequence from which moves begin, made by an engine that nobody disturbs."""
    folder = tmp_path_factory.mktemp("beginnings")
    made: dict[tuple[str, str], Path] = {}

    def get(name: str, state: str) -> Path:
        if (name, state) not in made:
            if state == "none":
                shutil.rmtree(place.state, ignore_errors=True)
                place.make(name)
            else:
                before, move = {
                    "in_use": ("none", "assign"),
                    "stopped": ("in_use", "stop"),
                    "suspended": ("in_use", "suspend"),
                    "kept": ("in_use", "keep"),
                }[state]
                copy(get(name, before), place.state)
                go(place, move)
            made[name, state] = folder / f"{name}-{state}"
            copy(place.state, made[name, state])
        return made[name, state]

    return get


def go(place: Place, move: str) -> dict[str, Any]:
    """Make the move undisturbed."""
    place.open()
    place.post.taken.clear()
    place.start()
    place.ask(move)
    place.until_rest()
    place.end()
    picture = place.picture()
    catalog.close()
    return picture


@pytest.fixture(scope="module")
def undisturbed(place: Place, beginnings: Any) -> Any:
    """What there is after a move that nobody disturbs."""
    known: dict[tuple[str, str], dict[str, Any]] = {}

    def get(name: str, move: str) -> dict[str, Any]:
        if (name, move) not in known:
            copy(beginnings(name, BEGINS[move]), place.state)
            known[name, move] = go(place, move)
        return known[name, move]

    return get


def test_the_moves_that_people_and_plan_begin_are_all_here():
    begun = {move.name for move in master().moves if move.core}
    assert begun == set(BEGINS)


@pytest.mark.parametrize("case", cases(), ids=lambda case: f"{case.sequence}-{case.move}-{case.step}-{case.point}")
def test_killed_there_it_ends_as_if_it_had_not_been(case, place, beginnings, undisturbed):
    wanted = undisturbed(case.sequence, case.move)
    copy(beginnings(case.sequence, BEGINS[case.move]), place.state)
    place.open()
    place.post.taken.clear()
    place.start((case.move, case.step, case.point))
    place.ask(case.move)
    deadline = time.monotonic() + PATIENCE
    while not place.killed():
        place.answer()
        assert time.monotonic() < deadline, f"it never came there: {(place.state / 'engine.log').read_text()[-3000:]}"
        place.engine.join(0.02)
    place.start()
    place.until_rest()
    place.end()
    found = place.picture()
    assert json.dumps(found, indent=1) == json.dumps(wanted, indent=1)
    assert catalog.check() == []
    catalog.close()
