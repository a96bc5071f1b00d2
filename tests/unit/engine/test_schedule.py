"""The table of what the engine does by itself: when its lines are looked at, and that it has all of them."""

import ast
import re
from pathlib import Path

import pytest

from appliance import catalog
from appliance import engine as package
from appliance.access import machine_names
from appliance.catalog import options
from appliance.engine import schedule
from appliance.engine.jobs import Jobs
from appliance.engine.schedule import EVERY_TICK, ONCE, Needs, Periodic, Schedule

FOLDER = Path(package.__file__).parent
CLOCKS = {"clock.py", "engine.py", "heartbeat.py", "readings.py", "schedule.py"}  # of which the last has what is done again and again


class World:
    """A table over conditions and a time that tests set."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.moment, self.holds, self.did = 1000.0, Needs.NOTHING, list[str]()
        self.jobs = Jobs({"queue": 1})
        monkeypatch.setattr(schedule.time, "monotonic", lambda: self.moment)

    def line(self, name: str, every: float = EVERY_TICK, needs: Needs = Needs.NOTHING, queue: str = "", **rest: object) -> Periodic:
        return Periodic(name, every, lambda: self.did.append(name), needs, queue, **rest)  # type: ignore[arg-type]

    def over(self, *table: Periodic) -> Schedule:
        conditions = {need: (lambda need=need: need in self.holds) for need in (Needs.DECISION, Needs.HYPERVISOR, Needs.SETUP)}
        return Schedule(table, conditions, self.jobs)


@pytest.fixture
def world(monkeypatch):
    made = World(monkeypatch)
    yield made
    made.jobs.close()


def test_a_line_is_done_at_once_then_when_its_time_has_come_and_when_it_is_hurried(world):
    table = world.over(world.line("minute", 60), world.line("tick"), world.line("once", ONCE))
    for seconds in (0, 30, 30, 59):
        world.moment += seconds
        table.tick()
    assert world.did == ["minute", "tick", "once", "tick", "minute", "tick", "tick"]
    world.did.clear()
    table.hurry("minute")
    table.tick()
    assert world.did == ["minute", "tick"]


def test_a_line_waits_for_all_that_it_needs(world):
    table = world.over(
        world.line("anyway"), world.line("watched", 60, Needs.MACHINES), world.line("users", ONCE, Needs.MACHINES | Needs.SETUP)
    )
    for holds in (Needs.NOTHING, Needs.HYPERVISOR, Needs.MACHINES, Needs.MACHINES | Needs.SETUP):
        world.holds = holds
        table.tick()
    assert world.did == ["anyway", "anyway", "anyway", "watched", "anyway", "users"]


def test_a_line_with_a_queue_is_a_job_one_at_a_time_and_only_when_one_is_wanted(world):
    wanted = [False, True, True]
    table = world.over(world.line("job", 60, Needs.NOTHING, "queue", due=lambda: wanted.pop(0)))
    table.tick()
    assert world.jobs.keys() == set(), "nothing is wanted, which is asked again at the next tick"
    table.tick()
    world.moment += 60
    table.tick()
    assert (world.jobs.keys(), wanted) == ({"job"}, [True]), "it is under way, or was until a moment ago"
    for job in world.jobs.under_way():
        job.result(10)
    world.jobs.forget_ended()
    table.tick()
    for job in world.jobs.under_way():
        job.result(10)
    assert world.did == ["job", "job"]


def test_every_line_is_told_in_the_readme_and_in_its_order(engine):
    def words(line: Periodic) -> tuple[str, str, str]:
        every = "10 s, 2 s when memory is scarce" if callable(line.every) else {EVERY_TICK: "tick", ONCE: "once"}.get(line.every)
        return line.name, every or f"{line.every:g} s", line.queue or "tick"

    told = re.findall(r"^\| `([\w ]+)` \| ([^|]+) \| (\w+) \|", (FOLDER / "README.md").read_text(), re.M)
    assert told == [words(line) for line in engine.schedule.table]


def test_nginx_is_told_below_which_domain_machines_have_names(engine, opened):
    [line] = [line for line in engine.schedule.table if line.name == "names"]
    for domain in ("dpe.example.org", ""):
        with catalog.write():
            options.put("machine_names", domain)
        line.work()
        assert machine_names.served(opened) == domain


def test_names_are_one_lines_alone_and_queues_exist(engine):
    lines = engine.schedule.table
    assert len({line.name for line in lines}) == len(lines)
    assert {line.queue for line in lines} - {""} <= engine.jobs._queues.keys()


def test_nothing_is_done_again_and_again_but_by_the_table():
    """No controller counts seconds or has threads, sleeps or timers of its own."""
    found: dict[str, set[str]] = {}
    for file in FOLDER.glob("*.py"):
        names = {node.attr for node in ast.walk(ast.parse(file.read_text())) if isinstance(node, ast.Attribute)}
        names |= {node.id for node in ast.walk(ast.parse(file.read_text())) if isinstance(node, ast.Name)}
        found[file.name] = names
    assert {name for name, names in found.items() if "monotonic" in names} <= CLOCKS
    assert {name for name, names in found.items() if names & {"sleep", "Timer", "Thread"}} == set()
    assert {name for name, names in found.items() if "ThreadPoolExecutor" in names} == {"jobs.py", "parking.py"}


def test_every_controller_has_its_work_in_the_table(engine):
    """A controller is whatever `Controllers` holds and is declared in this package; readings and repairs are asked for by others as well."""
    controllers = {type(one).__name__ for one in vars(engine.controllers).values() if type(one).__module__.startswith("appliance.engine.")}
    owners = {type(line.work.__self__).__name__ for line in engine.schedule.table if hasattr(line.work, "__self__")}
    assert controllers - {"Jobs"} <= owners
