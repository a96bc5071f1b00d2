"""Replicas of services come and go: HAProxy is told, watched and configured.

At every look, what HAProxy does is made to be what the catalog says, whatever either was in the middle of: a replica has its row before HAProxy
knows its address, and loses it in the transaction that has its machine taken away, after HAProxy has said that nothing is sent there any
more. So an engine that is killed goes on where it was, and nothing is ever sent to a machine that is gone.
"""

import logging
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import NamedTuple

from appliance import catalog
from appliance.access import published
from appliance.access.published import Published
from appliance.balance import haproxy, wanted
from appliance.balance.runtime import Proxy, Runtime, Server, State
from appliance.catalog import Class, EventKind, Machine, MachineState, Replica, ReplicaState, machines, now, record, replicas
from appliance.errors import Conflict, Unavailable
from appliance.lifecycle import draining, master
from appliance.settings import Settings

log = logging.getLogger("dpe.engine")

S = MachineState
Figures = dict[str, float | None]

REPLACED = 60  # seconds that a replica may be down before another takes its place
AGAIN = timedelta(seconds=60)  # between two tries of a configuration that HAProxy did not take


class Counted(NamedTuple):
    """What a process of HAProxy had counted at a moment: requests and errors of a service, or of one of its servers."""

    process: str
    at: datetime
    requests: int
    errors: int


class Balancer:
    """Keeps HAProxy as the catalog says. `up` are the machines that serve, as it saw them last."""

    def __init__(self, settings: Settings, runtime: Runtime | None = None) -> None:
        self.settings, self.runtime = settings, runtime or Runtime(settings)
        self.up: frozenset[str] = frozenset()
        self.wanted: dict[str, int] = {}  # replicas, by service: what the planner goes by
        self.state: State | None = None
        self._had = bool(replicas.all() or published.published(settings))
        self._counted: dict[str, Counted] = {}
        self._tried: tuple[str, datetime] | None = None
        self._refused: dict[str, str] = {}

    def is_due(self) -> bool:
        """Whether there is, or was at the last look, anything to balance."""
        return self._had or bool(replicas.classes())

    def keep(self) -> None:
        """One look. Raises Unavailable when HAProxy is away: nothing is taken away then that it may still send requests to."""
        classes, moment = replicas.classes(), now()
        self._had = True
        self._publish(classes)
        try:
            state = self.state = self.runtime.look()
        except Unavailable:
            self.state = None
            raise
        services = wanted.services(classes)
        if state.shape != haproxy.shape(services):
            self._configure(classes, moment)
        known = {one.name: one for one in classes}
        self._leave(known, state)
        self._join(classes)
        up = set[str]()
        for replica in replicas.all():
            machine_class, proxy = known[replica.class_name], state.proxies.get(replica.class_name)
            server = proxy.servers.get(replica.number) if proxy else None
            if server is not None and self._keep(replica, machine_class, server, moment):
                up.add(replica.machine_id)
        self.up = frozenset(up)
        self._had = bool(classes or state.proxies)

    # -- what there is ----------------------------------------------------------------------------

    def _publish(self, classes: Iterable[Class]) -> None:
        refused = published.publish(
            self.settings,
            [Published(one.spec["service"]["name"], one.spec["service"].get("path", "/"), one.name) for one in classes],
        )
        for name, why in refused.items():
            if self._refused.get(name) != why:
                with catalog.write():
                    record(
                        EventKind.SERVICE_REFUSED, f"{name} has no address: {why}.", class_name=name, hint="Give it another name or path."
                    )
        self._refused = refused

    def _configure(self, classes: list[Class], moment: datetime) -> None:
        """Have HAProxy take other services, or more servers of one. Replicas come and go without."""
        services = wanted.services(classes)
        shape = haproxy.shape(services)
        if self._tried is not None and self._tried[0] == shape and moment - self._tried[1] < AGAIN:
            return
        self._tried = shape, moment
        haproxy.write_configuration(self.settings, services, wanted.members(classes, self.settings))
        self.runtime.reload()
        log.info("HAProxy takes its configuration for %s", ", ".join(one.name for one in services) or "no service")

    # -- coming -----------------------------------------------------------------------------------

    def _join(self, classes: Iterable[Class]) -> None:
        """Make replicas of machines that are ready. They have answered before they were."""
        for machine_class in classes:
            for machine in replicas.joining(machine_class.name):
                try:
                    with catalog.write():
                        replicas.join(machine, replicas.servers(machine_class))
                        self._record(EventKind.REPLICA_SERVING, machine, f"{machine.name} serves {machine_class.name} from now on.")
                except Conflict as conflict:
                    log.info("%s", conflict)

    # -- being there ------------------------------------------------------------------------------

    def _keep(self, replica: Replica, machine_class: Class, server: Server, moment: datetime) -> bool:
        """Have HAProxy treat a replica as it should be; whether it serves."""
        name, machine = replica.class_name, replica.machine
        address = wanted.address(replica, machine_class, self.settings)
        if replica.state is ReplicaState.DRAINING:
            self._drain(replica, server, moment, is_sticky=machine_class.spec["service"].get("sticky", False))
            return False
        if (server.address, server.port) != address or server.is_off:
            self.runtime.serve(name, replica.number, *address)
            return False  # the next look says so
        if server.is_draining:
            self.runtime.go_on(name, replica.number)
        if server.up != replica.up:
            with catalog.write():
                replicas.note_up(machine.id, up=server.up)
                if server.up:
                    self._record(EventKind.REPLICA_UP, machine, f"{machine.name} answers again.")
                else:
                    self._record(EventKind.REPLICA_DOWN, machine, f"{machine.name} does not answer; nothing is sent to it until it does.")
        elif not server.up and server.since >= REPLACED and not self._is_being_replaced(name):
            self._remove(replica, f"it has not answered for {server.since} s", EventKind.REPLICA_REPLACED)
        return server.up

    def _is_being_replaced(self, class_name: str) -> bool:
        """One at a time: when none answers, it is seldom the machines' fault."""
        there = machines.counts().get(class_name, {})
        return any(there.get(state) for state in (S.PLANNED, S.CREATING, S.FAILED, S.RECLAIMING))

    # -- going ------------------------------------------------------------------------------------

    def wish(self, machine_class: Class, leaving: list[Machine], reason: str, *, at_once: bool) -> None:
        """Have these ready machines go, and no others: they drain first. One after the other, each when all that stay serve, unless `at_once`."""
        known = {replica.machine_id: replica for replica in replicas.all() if replica.class_name == machine_class.name}
        ids = {machine.id for machine in leaving}
        for replica in known.values():
            if replica.machine_id not in ids and replica.state is ReplicaState.DRAINING and not replica.dismissed:
                with catalog.write():
                    if replicas.go_on(replica.machine_id):
                        self._record(
                            EventKind.REPLICA_SERVING, replica.machine, f"{replica.machine.name} is needed again, and goes on serving."
                        )
        staying = {replica.machine_id for replica in known.values() if replica.state is ReplicaState.SERVING} - ids
        for machine in leaving:
            if machine.id not in known:
                self._take_away(machine, reason)
            elif known[machine.id].state is ReplicaState.SERVING and (
                at_once or (staying <= self.up and not replicas.joining(machine_class.name))
            ):
                draining.begin(machine_class, machine, _why(machine, reason))

    def _take_away(self, machine: Machine, reason: str) -> None:
        """One that never served."""
        try:
            with catalog.write():
                if replicas.of_machine(machine.id) is None:
                    why = _why(machine, reason)
                    master.move(
                        machine.id, S.RECLAIMING, f"{machine.name} is removed: {why}.", expect=frozenset({S.READY}), reclaim_reason=why
                    )
        except Conflict:
            log.info("%s went just before it would have been removed", machine.name)

    def _drain(self, replica: Replica, server: Server, moment: datetime, *, is_sticky: bool) -> None:
        """Let it end what it began; then, or at its deadline, it goes. A look each: no new ones, none at all, and none that came in between.

        Browsers that come back to a sticky one may do so until its deadline: what it knows of them is nowhere else.
        """
        name, number = replica.class_name, replica.number
        if replica.deadline is not None and moment >= replica.deadline:
            cut = f"; {server.sessions} requests were cut off at its deadline" if server.sessions else ""
            self._remove(replica, f"{replica.reason}{cut}", EventKind.REPLICA_DRAINED)
        elif not (server.is_off or server.is_draining):
            self.runtime.drain(name, number)
        elif is_sticky or server.sessions or self.runtime.is_reloading():
            return
        elif not server.is_off:
            self.runtime.stop(name, number)
        else:
            self._remove(replica, replica.reason, EventKind.REPLICA_DRAINED)

    def _remove(self, replica: Replica, reason: str, kind: EventKind) -> None:
        """Nothing is sent to it any more, and then its machine is taken away."""
        self.runtime.take_out(replica.class_name, replica.number)
        with catalog.write():
            machine = replica.machine
            replicas.forget(machine.id)
            self._record(kind, machine, f"{machine.name} serves no longer: {reason}.")
            try:
                master.move(
                    machine.id, S.RECLAIMING, f"{machine.name} is removed: {reason}.", expect=frozenset({S.READY}), reclaim_reason=reason
                )
            except Conflict:
                log.info("%s went just before it would have been removed", machine.name)

    def _leave(self, known: Mapping[str, Class], state: State) -> None:
        """Take out what is no machine of the buffer any more, or of no service; and servers that none stands behind."""
        there: dict[str, set[int]] = {}
        for replica in replicas.all():
            if replica.machine.state is S.READY and replica.class_name in known:
                there.setdefault(replica.class_name, set()).add(replica.number)
                continue
            if replica.class_name in state.proxies and replica.number in state.proxies[replica.class_name].servers:
                self.runtime.take_out(replica.class_name, replica.number)
            with catalog.write():
                replicas.forget(replica.machine_id)
                self._record(
                    EventKind.REPLICA_LOST,
                    replica.machine,
                    f"{replica.machine.name} serves no longer: its machine is {replica.machine.state.value}.",
                )
        for name, proxy in state.proxies.items():
            for server in proxy.servers.values():
                if not server.is_off and server.number not in there.get(name, set()):
                    self.runtime.take_out(name, server.number)

    def _record(self, kind: EventKind, machine: Machine, message: str) -> None:
        record(kind, message, class_name=machine.class_name, machine_id=machine.id)

    # -- readings ---------------------------------------------------------------------------------

    def figures(self, moment: datetime) -> tuple[dict[str, Figures], dict[str, Figures]]:
        """What services, and what their replicas did since they were asked last: by class, and by the machine's id."""
        state, before, self._counted = self.state, self._counted, {}
        if state is None:
            return {}, {}
        of_machines: dict[str, Figures] = {}
        serving: dict[str, int] = {}
        for replica in replicas.all():
            proxy = state.proxies.get(replica.class_name)
            if proxy is not None and (server := proxy.servers.get(replica.number)) is not None:
                serving[replica.class_name] = serving.get(replica.class_name, 0) + (replica.machine_id in self.up)
                of_machines[replica.machine_id] = self._rates(replica.machine_id, state.started, server, before, moment)
        of_classes = {
            name: {
                **self._rates(name, state.started, proxy, before, moment),
                "requests_queued": proxy.queue,
                "replicas": serving.get(name, 0),
                "replicas_wanted": self.wanted.get(name),
            }
            for name, proxy in state.proxies.items()
        }
        return of_classes, of_machines

    def _rates(self, key: str, process: str, counts: Server | Proxy, before: Mapping[str, Counted], moment: datetime) -> Figures:
        """Requests a second, of them failed ones, and the latency; unknown at the first look, and after HAProxy was started."""
        last = before.get(key)
        self._counted[key] = Counted(process, moment, counts.requests, counts.errors)
        seconds = (moment - last.at).total_seconds() if last is not None and last.process == process else 0.0
        if last is None or seconds <= 0 or counts.requests < last.requests:
            return {"requests": None, "requests_failed": None, "latency": None}
        done = counts.requests - last.requests
        return {
            "requests": done / seconds,
            "requests_failed": max(0, counts.errors - last.errors) / seconds,
            "latency": counts.latency if done else None,  # its mean is of the last 1,024 requests, however old
        }


def _why(machine: Machine, reason: str) -> str:
    return reason if machine.seed.promoted else "its seed is no longer the promoted one"
