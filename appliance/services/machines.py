"""Asking for a machine, holding it, and giving it back."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from appliance import catalog
from appliance.catalog import (
    Actor,
    Class,
    Lease,
    Machine,
    MachineState,
    Request,
    RequestState,
    doorbell,
    machines,
    memory,
    now,
    record,
    runs,
    seeds,
)
from appliance.catalog.grants import Place
from appliance.errors import Conflict, NotFound
from appliance.lifecycle import master
from appliance.people import powers, quotas
from appliance.people.quotas import Allowance
from appliance.settings import Settings
from appliance.workflow import start

NONE_AT_ALL = "None are made at present: your admin has set their number to nought."
TOO_LARGE = "The server has too little memory for one of these."
ALL_GIVEN_OUT = "The server's memory is all given out: yours comes as soon as somebody gives one back."


@dataclass(frozen=True)
class Offer:
    """One class as a person sees it: the big button, or why it cannot be pressed. A `ready` machine would be theirs at once.

    Who has to wait is number `place` in the queue and knows `wait` when the class's latest machines tell it; `making` are
    the machines in creation, oldest first.
    """

    cls: Class
    ready: int
    held: int
    request: Request | None  # theirs, waiting
    ahead: int  # people waiting before them
    refusal: str  # why the button cannot be pressed; empty when it can
    making: list[Machine]
    wait: timedelta | None
    allowance: Allowance
    obstacle: str  # why none comes soon, in words for people who cannot change it; empty when nothing is in the way

    @property
    def lease_minutes(self) -> int:
        """How long a lease lasts for this person."""
        return min(self.cls.lease_minutes, self.allowance.lease_minutes or self.cls.lease_minutes)

    @property
    def place(self) -> int:
        return self.ahead + 1


def offers(account_id: int) -> list[Offer]:
    """Every enabled class that this person may use."""
    reach = powers.of_account(account_id).reach("machines.use")
    counts, waiting, making, room = machines.counts(), machines.waiting(), machines.in_making(), memory.room()
    mine = {r.class_name: r for r in Request.select().where(Request.account == account_id, Request.state.in_(machines.ASKED))}
    result = []
    for cls in Class.select().where(Class.enabled == True).order_by(Class.name):  # noqa: E712
        if not reach.covers(Place(classes=frozenset({cls.name}))):
            continue
        request = mine.get(cls.name)
        left = quotas.allowance(account_id, cls.name, quotas.size_of(cls))
        held = machines.held(account_id, cls.name)
        full = size(cls) > room
        ready = 0 if full else counts.get(cls.name, {}).get(MachineState.READY, 0)
        ahead = machines.ahead(request) if request else waiting.get(cls.name, 0)
        coming = [machine for machine in making if machine.class_name == cls.name]
        wait = None if ready and not request else _wait(cls, ahead, coming)
        obstacle = "" if ready else _obstacle(cls, full=full)
        result.append(Offer(cls, ready, held, request, ahead, _refusal(cls, held, left), coming, wait, left, obstacle))
    return result


def size(cls: Class) -> int:
    """All the host's memory, in MiB, that one machine of the class may take."""
    asked: int = cls.spec["size"]["memory"]
    return asked + memory.allowed().overhead


def _obstacle(cls: Class, *, full: bool) -> str:
    if cls.problem:
        return "New ones do not come up at the moment; your admin can see why."
    if full:
        return ALL_GIVEN_OUT
    if cls.limit_reason:
        return "The appliance is full: yours comes when somebody gives one back."
    return ""


def _wait(cls: Class, ahead: int, coming: list[Machine]) -> timedelta | None:
    """About how long until a person with `ahead` people before them gets a machine; None when nothing is known yet."""
    times = sorted(machines.making_times(cls.name))
    if not times:
        return None
    usual = times[len(times) // 2]
    if ahead < len(coming):
        since: timedelta = now() - coming[ahead].created_at
        return max(usual - since, timedelta())
    return usual * (ahead // max(len(coming), 1) + 1)


def _refusal(cls: Class, held: int, left: Allowance) -> str:
    if seeds.promoted(cls.name) is None:
        return "It is still being prepared: its first seed has not been built yet."
    if held >= cls.per_person:
        return f"You hold {held} of {cls.per_person} already."
    if left.left == 0:
        return f"{left.reason}."
    if not cls.maximum:
        return NONE_AT_ALL
    if size(cls) > memory.allowed().most:
        return TOO_LARGE
    return ""


def request(actor: Actor, class_name: str) -> Request:
    """Ask for a machine: one transaction gives a ready one at once, or queues the request.

    Raises NotFound when there is no such class for this person, Conflict when they hold as many as the class or a quota allows.
    """
    assert actor.account_id is not None
    with catalog.write():
        terms = machines.terms(class_name)
        reach = powers.reach(actor, "machines.use")
        if terms is None or not terms.enabled or not reach.covers(Place(classes=frozenset({class_name}))):
            raise NotFound(f"There is no class {class_name}.", "Reload the page to see what there is.")
        held = machines.held(actor.account_id, class_name)
        if held >= terms.per_person:
            raise Conflict(f"You hold {held} of {terms.per_person} already.", "Give one back first.")
        if not terms.maximum:
            raise Conflict(NONE_AT_ALL, "Ask your admin.")
        left = quotas.allowance(actor.account_id, class_name, terms.size)
        if left.left == 0:
            raise Conflict(f"{left.reason}.", "Give something back first, or ask your admin for more.")
        minutes = min(terms.lease_minutes, left.lease_minutes or terms.lease_minutes)
        allowed = memory.allowed()
        plan = start.plan("assign", class_name, actor.account_id, lease_minutes=minutes)
        claimed = None if plan.asks_first else machines.take(class_name, actor.account_id, now() + timedelta(minutes=minutes))
        if claimed is None and terms.size.memory + allowed.overhead > allowed.most:
            raise Conflict(TOO_LARGE, "Ask your admin.")
        asked = machines.note_request(actor.account_id, class_name, claimed, pending=plan.asks_first)
        start.assign(asked, plan, asked_by=actor.name)
        if plan.asks_first:
            record("request.pending", f"{actor.name} asks for a {class_name}.", actor, class_name=class_name, hit=False)
        elif claimed:
            record(
                "machine.assigned",
                f"{actor.name} got {claimed.name} at once.",
                actor,
                class_name=class_name,
                machine_id=claimed.id,
                hit=True,
            )
        else:
            why = "none is ready" if terms.size.memory + allowed.overhead <= memory.room(asked.id) else "memory is all given out"
            record("request.waiting", f"{actor.name} waits for a {class_name}: {why}.", actor, class_name=class_name, hit=False)
    doorbell.ring()
    return asked


def cancel_request(actor: Actor, id: int) -> None:
    """Stop waiting."""
    with catalog.write():
        asked = Request.get_or_none(Request.id == id, Request.account == actor.account_id, Request.state.in_(machines.ASKED))
        if asked is None:
            raise NotFound("You are not waiting for that any more.", "Reload the page to see what you hold.")
        asked.state, asked.ended_at = RequestState.CANCELLED, now()
        asked.save()
        runs.cancel(request_id=id)
        record("request.cancelled", f"{actor.name} stopped waiting for a {asked.class_name}.", actor, class_name=asked.class_name)
    doorbell.ring()


def mine(account_id: int) -> list[Machine]:
    """The machines a person holds, each with `.lease`."""
    return machines.of_account(account_id)


def _own(actor: Actor, machine: Machine) -> bool:
    return actor.account_id is not None and machine.owner_id == actor.account_id


def get(actor: Actor, id: str, permission: str = "machines.read") -> Machine:
    """A machine that the actor holds or looks after. Raises NotFound for all others: they do not learn that it exists."""
    machine = machines.by_id(id)
    if machine is None or not (_own(actor, machine) or powers.may(actor, permission, "machine", id)):
        raise NotFound("There is no such machine.", "It may have been given back.")
    return machine


def _lease(machine: Machine) -> Lease:
    lease = machines.lease_of(machine.id)
    if lease is None:
        raise Conflict(f"Nobody holds {machine.name}.", "Reload the page to see where it stands.")
    return lease


def extend(actor: Actor, id: str) -> datetime:
    """Extend the lease once by the class's rule; returns its new end. Whoever looks after machines need not keep to it."""
    with catalog.write():
        machine = get(actor, id, "machines.manage")
        lease, cls = _lease(machine), machine.klass
        by_rule = _own(actor, machine) and not powers.may(actor, "machines.manage", "machine", id)
        if machine.state not in machines.HELD or (lease.ends_at <= now()):
            raise Conflict(f"The lease of {machine.name} has ended.", "Ask for a new machine.")
        if by_rule and (lease.extensions >= cls.extensions or not cls.extend_minutes):
            raise Conflict(f"The lease of {machine.name} was extended as often as it may be.", "Save your work elsewhere, or ask an admin.")
        ends_at: datetime = lease.ends_at + timedelta(minutes=cls.extend_minutes or cls.lease_minutes)
        limit = quotas.allowance(lease.account_id, cls.name, quotas.size_of(cls)).lease_minutes
        if limit is not None:
            ends_at = min(ends_at, lease.began_at + timedelta(minutes=limit))
            if ends_at - lease.ends_at < timedelta(minutes=1):
                raise Conflict(
                    f"{machine.name} is held as long as a quota allows.", "Save your work elsewhere, or ask your admin for more."
                )
        lease.ends_at = ends_at
        lease.extensions += 1
        lease.warned_at = None
        lease.save()
        record(
            "lease.extended",
            f"{actor.name} extended {machine.name} to {lease.ends_at:%Y-%m-%d %H:%M} UTC.",
            actor,
            class_name=cls.name,
            machine_id=id,
        )
    return ends_at


def release(actor: Actor, id: str) -> None:
    """Give a machine back (its owner), or take it back (an admin); a clean one takes its place."""
    with catalog.write():
        machine = get(actor, id, "machines.manage")
        if machine.state in (MachineState.RECLAIMING, MachineState.RETIRED):
            return
        own = _own(actor, machine)
        word = "gave back" if own else "took back" if machine.owner_id else "removed"
        master.move(
            id,
            MachineState.RECLAIMING,
            f"{actor.name} {word} {machine.name}.",
            actor,
            reclaim_reason="released" if own else "taken back by an admin",
            retry_at=None,
            attempts=0,
        )
        machines.end_lease(id, "released" if own else "taken back")
    doorbell.ring()


@dataclass(frozen=True)
class Way:
    """How a machine's application is reached from outside: port of the front door, and where the browser starts."""

    port: int
    path: str


def way(machine: Machine, settings: Settings) -> Way:
    """The front door port and path of a machine's application."""
    return Way(settings.app_port + machine.slot, machine.klass.spec["application"]["path"])
