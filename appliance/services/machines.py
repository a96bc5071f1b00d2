"""Asking for a machine, holding it, and giving it back."""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from appliance import catalog
from appliance.access.machine_names import name_of
from appliance.catalog import (
    Actor,
    Class,
    EventKind,
    Handover,
    Lease,
    Machine,
    MachineState,
    Request,
    RequestState,
    Seed,
    doorbell,
    handovers,
    machines,
    memory,
    now,
    policies,
    recipes,
    record,
    replicas,
    runs,
    scenarios,
    seeds,
    timezone,
    usage,
)
from appliance.catalog.grants import Location
from appliance.errors import BadInput, Conflict, NotFound
from appliance.identity import permissions, quotas
from appliance.identity.quotas import Allowance
from appliance.laps import Lap, Waterfall
from appliance.lifecycle import draining, leases, master
from appliance.scenario import applications, choice
from appliance.settings import Settings
from appliance.workflow import start

NONE_AT_ALL = "None are made at present: your admin has set their number to nought."
TOO_LARGE = "The server has too little memory for one of these."
TOO_LARGE_TOGETHER = "The server has too little memory for so many of these at once."
ALL_GIVEN_OUT = "The server's memory is all given out: yours comes as soon as somebody gives one back."


@dataclass(frozen=True)
class Offer:
    """One class as a person sees it: the big button, or why it cannot be pressed. A `ready` machine would be theirs at once.

    Who has to wait is number `place` in the queue and knows `wait` when the class's latest machines tell it; `making` are
    the machines in creation, oldest first. They may ask for `burst` together, and wait for `wanted`, of which `there` are ready.
    """

    machine_class: Class
    ready: int
    held: int
    request: Request | None  # theirs, waiting
    ahead: int  # people waiting before them
    refusal: str  # why the button cannot be pressed; empty when it can
    making: list[Machine]
    wait: timedelta | None
    allowance: Allowance
    obstacle: str  # why none comes soon, in words for people who cannot change it; empty when nothing is in the way
    burst: int = 1
    wanted: int = 1
    there: int = 0
    first: tuple[str, ...] = ()  # what comes before they get one, for one at a time; known when the button can be pressed
    building: Seed | None = None  # of what they wait for: it was never made before, or not for long

    @property
    def lease_minutes(self) -> int:
        """How long a lease lasts for this person."""
        asked = self.request.lease_minutes if self.request else None
        return self.allowance.lease(asked or self.machine_class.lease_minutes)

    @property
    def place(self) -> int:
        return self.ahead + 1

    @property
    def is_open(self) -> bool:
        """Whether something of it can be chosen."""
        return bool(choice.bounds_of(self.machine_class.spec))


def offers(account_id: int) -> list[Offer]:
    """Every enabled class that this person may use."""
    reach, chosen = permissions.of_account(account_id).reach("machines.use"), recipes.names()
    counts, queues, making, room = machines.counts(), machines.queues(), machines.in_making(), memory.room()
    asked = Request.select().where(Request.account == account_id, Request.state.in_(machines.ASKED)).order_by(Request.id.desc())
    mine = {request.class_name: request for request in asked}  # the oldest of each class
    held_up = handovers.held_up(account_id)
    result = []
    for machine_class in Class.select().where(Class.enabled == True).order_by(Class.name):  # noqa: E712
        if machine_class.spec.get("service") or policies.value(machine_class, "jobs"):
            continue
        if not reach.covers(Location(classes=frozenset({machine_class.name}))):
            continue
        request = mine.get(machine_class.name)
        if machine_class.name in chosen and request is None:
            continue  # chosen by others, or once: the form of its class leads there
        left = quotas.allowance(account_id, machine_class.name, quotas.size_of(machine_class))
        held = machines.held(account_id, machine_class.name)
        full = size(machine_class) > room
        there = counts.get(machine_class.name, {}).get(MachineState.READY, 0)
        ahead = machines.ahead(request) if request else queues.get(machine_class.name, machines.Queue())
        ready = 0 if full or ahead.people else there
        wanted = len(machines.together(request)) if request else 1
        coming = [machine for machine in making if machine.class_name == machine_class.name]
        before = max(0, ahead.machines + wanted - 1 - (there if wanted > 1 else 0))
        wait = None if ready and not request else _wait(machine_class, before, coming)
        obstacle = "" if ready else _obstacle(machine_class, full=full)
        refusal = _refusal(machine_class, held, left) or _held_up(held_up.get(machine_class.name))
        burst = 1 if refusal else _burst(machine_class, held, left)
        offer = Offer(
            machine_class, ready, held, request, ahead.people, refusal, coming, wait, left, obstacle, burst, wanted, min(there, wanted)
        )
        if machine_class.name in chosen:
            offer = _built_first(offer)
        elif not request and not refusal:
            offer = replace(offer, first=start.plan("assign", machine_class.name, account_id, lease_minutes=offer.lease_minutes).first)
        result.append(offer)
    return result


def _built_first(offer: Offer) -> Offer:
    """What somebody chose and waits for, with the build that comes first, if any."""
    name = offer.machine_class.name
    building = next(iter(seeds.unfinished(name)), None)
    if building is None:
        return offer
    usual = recipes.usual_build(recipes.bases()[name], offer.machine_class.spec["os"])
    gone: timedelta = now() - building.started_at if building.started_at else timedelta()
    return replace(offer, building=building, wait=max(usual - gone, timedelta()) if usual else None)


def _burst(machine_class: Class, held: int, left: Allowance) -> int:
    """How many this person may ask for together."""
    most = [
        machine_class.burst,
        machine_class.per_person - held,
        policies.most(machine_class),
        memory.allowed().most // size(machine_class),
    ]
    return max(1, min([*most, left.left] if left.left is not None else most))


def size(machine_class: Class) -> int:
    """All the host's memory, in MiB, that one machine of the class may take."""
    asked: int = machine_class.spec["size"]["memory"]
    return asked + memory.allowed().overhead


def _obstacle(machine_class: Class, *, full: bool) -> str:
    if machine_class.problem:
        return "New ones do not come up at the moment; your admin can see why."
    if full:
        return ALL_GIVEN_OUT
    if machine_class.limit_reason:
        return "The appliance is full: yours comes when somebody gives one back."
    return ""


def _wait(machine_class: Class, ahead: int, coming: list[Machine]) -> timedelta | None:
    """About how long until a person with `ahead` people before them gets a machine; None when nothing is known yet."""
    times = sorted(machines.making_times(machine_class.name))
    if not times:
        return None
    usual = times[len(times) // 2]
    if ahead < len(coming):
        since: timedelta = now() - coming[ahead].created_at
        return max(usual - since, timedelta())
    return usual * (ahead // max(len(coming), 1) + 1)


def _refusal(machine_class: Class, held: int, left: Allowance) -> str:
    if seeds.promoted(machine_class.name) is None:
        return "It is still being prepared: its first seed has not been built yet."
    if held >= machine_class.per_person:
        return f"You hold {held} of {machine_class.per_person} already."
    if left.left == 0:
        return f"{left.reason}."
    if not policies.most(machine_class):
        return NONE_AT_ALL
    if size(machine_class) > memory.allowed().most:
        return TOO_LARGE
    return ""


def _held_up(found: Handover | None) -> str:
    if found is None:
        return ""
    minutes = -(-(found.held_until - now()) // timedelta(minutes=1))
    return (
        f"The last {found.failures} machines could not be made yours: {found.problem} You can ask for another in {minutes} minutes,"
        " or as soon as your admin has you try again."
    )


def _check_for_people(class_name: str, terms: machines.Terms) -> None:
    """Raise Conflict for a class whose machines nobody holds."""
    if terms.is_service:
        raise Conflict(f"{class_name} is a service: its machines are everybody's, and nobody holds one.", "Open its address.")
    if terms.jobs:
        raise Conflict("These machines work on jobs.", "Submit a job instead.")


def request(actor: Actor, class_name: str, count: int = 1, *, trial_id: int | None = None, lease_minutes: int | None = None) -> Request:
    """Ask for a machine: one transaction gives a ready one at once, or queues the request. Of several, all are given or none.

    The request that is returned is the first one's. Raises NotFound when there is no such class for this person, Conflict when they
    hold as many as the class or a quota allows, BadInput when the class does not give so many at once. With `trial_id` the machine
    goes by that version of a sequence, all its life. `lease_minutes` is how long it is wanted for, where the class leaves that open (services.choices).
    """
    assert actor.account_id is not None
    with catalog.write():
        terms = machines.terms(class_name)
        reach = permissions.scope_of(actor, "machines.use")
        if terms is None or not terms.enabled or not reach.covers(Location(classes=frozenset({class_name}))):
            raise NotFound(f"There is no class {class_name}.", "Reload the page to see what there is.", field="class_name")
        _check_for_people(class_name, terms)
        if not 1 <= count <= max(terms.burst, 1):
            raise BadInput(
                f"{count} of these at once cannot be had.", f"Ask for from 1 to {terms.burst}." if terms.burst > 1 else "Ask for one."
            )
        held = machines.held(actor.account_id, class_name)
        if held + count > terms.per_person:
            many = f", so {count} more are too many" if held < terms.per_person else ""
            raise Conflict(f"You hold {held} of {terms.per_person} already{many}.", "Ask for fewer." if many else "Give one back first.")
        if not terms.maximum:
            raise Conflict(NONE_AT_ALL, "Ask your admin.")
        if refused := _held_up(handovers.held_up(actor.account_id).get(class_name)):
            raise Conflict(refused, "Ask your admin, who sees why.")
        if count > terms.maximum:
            raise Conflict(f"There are never more than {terms.maximum} of these.", "Ask for fewer, or your admin for more.")
        left = quotas.allowance(actor.account_id, class_name, terms.size)
        if left.left is not None and left.left < count:
            many = f", so {count} more are too many" if left.left else ""
            raise Conflict(f"{left.reason}{many}.", "Give something back first, or ask your admin for more.")
        minutes = left.lease(lease_minutes or terms.lease_minutes)
        allowed = memory.allowed()
        plan = start.plan("assign", class_name, actor.account_id, lease_minutes=minutes, count=count, trial_id=trial_id)
        ends_at = now() + timedelta(minutes=minutes)
        claimed = [] if plan.asks_first else machines.take_machines(class_name, actor.account_id, ends_at, count)
        needed = (terms.size.memory + allowed.overhead) * count
        if not claimed and needed > allowed.most:
            raise Conflict(TOO_LARGE if count == 1 else TOO_LARGE_TOGETHER, "Ask your admin.")
        asked = _note(actor, class_name, count, claimed, plan, lease_minutes)
        if trial_id is not None:
            Request.update(trial=trial_id).where(Request.id == asked.id).execute()
        what = f"a {class_name}" if count == 1 else f"{count} of {class_name} at once"
        if plan.asks_first:
            record(EventKind.REQUEST_PENDING, f"{actor.name} asks for {what}.", actor, class_name=class_name, hit=False)
        elif not claimed:
            lacking = "none is ready" if count == 1 else "not so many are ready"
            why = lacking if needed <= memory.room(asked.id) else "memory is all given out"
            record(EventKind.REQUEST_WAITING, f"{actor.name} waits for {what}: {why}.", actor, class_name=class_name, hit=False)
    doorbell.ring()
    return asked


def _note(
    actor: Actor, class_name: str, count: int, claimed: list[machines.Claimed], plan: start.StartPlan, lease_minutes: int | None
) -> Request:
    """Write down the request, a row for each machine, with a run for each that is there; the first one's run waits for all of them."""
    assert actor.account_id is not None
    first: Request | None = None
    for number in range(count):
        got = claimed[number] if claimed else None
        asked = machines.note_request(
            actor.account_id,
            class_name,
            got,
            pending=plan.asks_first,
            batch_id=first.id if first is not None else None,
            lease_minutes=lease_minutes,
        )
        if first is None:
            first = asked
            if count > 1:
                machines.bind(first)
        if got or asked is first:
            start.assign(asked, plan, asked_by=actor.name)
        if got:
            record(
                EventKind.MACHINE_ASSIGNED, f"{actor.name} got {got.name} at once.", actor, class_name=class_name, machine_id=got.id, hit=True
            )  # fmt: skip
    assert first is not None
    return first


def cancel_request(actor: Actor, id: int) -> None:
    """Stop waiting, for all that were asked for together. Whoever looks after machines may end others' waiting."""
    with catalog.write():
        asked = Request.get_or_none(Request.id == id, Request.state.in_(machines.ASKED))
        own = asked is not None and asked.account_id == actor.account_id
        if asked is None or not (own or permissions.may(actor, "machines.manage", "request", id)):
            raise NotFound("You are not waiting for that any more.", "Reload the page to see what you hold.")
        party = machines.asked_together(asked)
        for one in party:
            runs.cancel(request_id=one.id)
        Request.update(state=RequestState.CANCELLED, ended_at=now()).where(Request.id.in_([one.id for one in party])).execute()
        what = f"a {asked.class_name}" if len(party) == 1 else f"{len(party)} of {asked.class_name}"
        whose = asked.account.name if asked.account else "nobody"
        told = f"{actor.name} stopped waiting for {what}." if own else f"{actor.name} cancelled that {whose} waits for {what}."
        record(EventKind.REQUEST_CANCELLED, told, actor, class_name=asked.class_name)
    doorbell.ring()


def my_machines(account_id: int) -> list[Machine]:
    """The machines a person holds, each with `.lease`."""
    return machines.of_account(account_id)


def _own(actor: Actor, machine: Machine) -> bool:
    return permissions.owns(actor, machine.owner_id)


def get_machine(actor: Actor, id: str, permission: str = "machines.read") -> Machine:
    """A machine that the actor holds or looks after. Raises NotFound for all others: they do not learn that it exists."""
    machine = machines.by_id(id)
    if machine is None or not (_own(actor, machine) or permissions.may(actor, permission, "machine", id)):
        raise NotFound("There is no such machine.", "It may have been given back.")
    return machine


def waterfall(machine: Machine) -> Waterfall | None:
    """Where the time went when the machine was handed over last; None when it never was to somebody who had asked, or nobody took the time."""
    step = runs.handed_over(machine.id)
    if step is None or step.ended_at is None or step.run.request is None or not step.output.get("laps"):
        return None
    asked_at, granted_at = step.run.request.created_at, step.run.request.granted_at or step.run.request.created_at
    laps = [Lap(*lap) for lap in step.output["laps"]]
    rest = (step.ended_at - step.started_at).total_seconds() - sum(lap.seconds for lap in laps if not lap.inside)
    return Waterfall([
        Lap("waiting for one that is ready", (granted_at - asked_at).total_seconds()),
        Lap("until the engine is at it", (step.started_at - granted_at).total_seconds()),
        *(lap for lap in laps if not lap.inside),
        Lap("writing it down", max(0.0, rest)),
        *(lap for lap in laps if lap.inside),
    ])  # fmt: skip


def lease_of(machine: Machine) -> Lease | None:
    """The lease by which somebody holds it."""
    return machines.lease_of(machine.id)


def _lease(machine: Machine) -> Lease:
    lease = lease_of(machine)
    if lease is None:
        raise Conflict(f"Nobody holds {machine.name}.", "Reload the page to see where it stands.")
    return lease


def extend(actor: Actor, id: str) -> datetime:
    """Extend the lease once by the class's rule; returns its new end. Whoever looks after machines need not keep to it."""
    with catalog.write():
        machine = get_machine(actor, id, "machines.manage")
        lease, machine_class = _lease(machine), machine.machine_class
        by_rule = _own(actor, machine) and not permissions.may(actor, "machines.manage", "machine", id)
        if machine.state not in machines.HELD or (lease.ends_at <= now()):
            raise Conflict(f"The lease of {machine.name} has ended.", "Ask for a new machine.")
        if by_rule and (lease.extensions >= machine_class.extensions or not machine_class.extend_minutes):
            raise Conflict(f"The lease of {machine.name} was extended as often as it may be.", "Save your work elsewhere, or ask an admin.")
        ends_at: datetime = lease.ends_at + timedelta(minutes=machine_class.extend_minutes or machine_class.lease_minutes)
        limit = quotas.allowance(lease.account_id, machine_class.name, quotas.size_of(machine_class)).lease_minutes
        if limit is not None:
            ends_at = min(ends_at, lease.began_at + timedelta(minutes=limit))
            if ends_at - lease.ends_at < timedelta(minutes=1):
                raise Conflict(
                    f"{machine.name} is held as long as a quota allows.", "Save your work elsewhere, or ask your admin for more."
                )
        lease.ends_at = ends_at
        lease.extensions += 1
        lease.warned_at = now()  # what was due by now was for the end that it had
        lease.kept_until = None
        lease.save()
        record(
            EventKind.LEASE_EXTENDED,
            f"{actor.name} extended {machine.name} to {timezone.timestamp(lease.ends_at)}.",
            actor,
            class_name=machine_class.name,
            machine_id=id,
        )
    return ends_at


def ends_soon(lease: Lease, machine_class: Class) -> bool:
    """Whether the last announcement of its end is due: nobody should have to look at a clock."""
    return any(lease.ends_at - before <= now() for before in leases.announced(lease.ends_at - lease.began_at, 0, machine_class.warn_last))


def still_here(actor: Actor, id: str) -> None:
    """Say that a machine is in use, whatever it looks like: its owner is not warned until it was unused for as long again."""
    with catalog.write():
        machine = get_machine(actor, id, "machines.manage")
        _lease(machine)
        usage.note_usage([id], now())
        record(EventKind.LEASE_KEPT, f"{actor.name} still uses {machine.name}.", actor, class_name=machine.class_name, machine_id=id)


def release(actor: Actor, id: str) -> None:
    """Give a machine back (its owner), or take it back (an admin); a clean one takes its place."""
    with catalog.write():
        machine = get_machine(actor, id, "machines.manage")
        if machine.state in (MachineState.RECLAIMING, MachineState.RETIRED):
            return
        if replicas.of_machine(id) is not None:
            draining.begin(machine.machine_class, machine, f"{actor.name} takes it out", actor, dismissed=True)
            doorbell.ring()
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


# -- several that came together ----------------------------------------------------------------


@dataclass(frozen=True)
class Group:
    """Machines of one person that came together, or one that came alone (then `batch` is None)."""

    batch: int | None
    machines: list[Machine]

    @property
    def size(self) -> int:
        return len(self.machines)

    @property
    def ready(self) -> int:
        """How many of them can be used."""
        return sum(machine.state is not MachineState.ASSIGNED for machine in self.machines)


def grouped(account_id: int) -> list[Group]:
    """The machines a person holds, each with `.lease`: those that came together beside each other."""
    batches = machines.batches(account_id)
    found: dict[object, list[Machine]] = {}
    for machine in machines.of_account(account_id):
        found.setdefault(batches.get(machine.id, machine.id), []).append(machine)
    return [Group(key if isinstance(key, int) and len(group) > 1 else None, group) for key, group in found.items()]


def _batch(actor: Actor, batch: int) -> list[Machine]:
    assert actor.account_id is not None
    found = next((group.machines for group in grouped(actor.account_id) if group.batch == batch), [])
    if not found:
        raise NotFound("You hold none of those any more.", "Reload the page to see what you hold.")
    return found


def extend_together(actor: Actor, batch: int) -> tuple[int, datetime]:
    """Extend all that came together as far as each may be: how many were, and when the first of them ends now.

    Raises Conflict when none may.
    """
    ends: list[datetime] = []
    with catalog.write():
        for machine in _batch(actor, batch):
            try:
                ends.append(extend(actor, machine.id))
            except Conflict as conflict:
                refused = conflict
        if not ends:
            raise refused
    return len(ends), min(ends)


def release_together(actor: Actor, batch: int) -> int:
    """Give all back that came together, and stop waiting for the rest of them; returns how many machines those are."""
    with catalog.write():
        found = _batch(actor, batch)
        for machine in found:
            release(actor, machine.id)
        rest = Request.get_or_none(Request.batch == batch, Request.account == actor.account_id, Request.state.in_(machines.ASKED))
        if rest is not None:
            cancel_request(actor, rest.id)
    doorbell.ring()  # once more: the engine may have looked before this was kept
    return len(found)


@dataclass(frozen=True)
class Way:
    """How a page of a machine is reached from outside: what it is called, port of the front door (0 when there is none left for it), its name
    where machines have names, and where the browser starts."""

    title: str
    port: int
    name: str
    path: str


def ways(machine: Machine, settings: Settings) -> list[Way]:
    """Those to the pages of a machine, that which it opens with first."""
    return [
        Way(
            page.title,
            settings.port(number, machine.door) if number < settings.pages else 0,
            name_of(machine.host_label, number),
            page.path,
        )
        for number, page in enumerate(applications.pages(machine.machine_class.spec, scenarios.own_applications))
    ]
