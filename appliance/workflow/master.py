"""The master workflow, from playbooks/workflows/master.yml: the states of a machine's life and the moves between them."""

from collections.abc import Iterable, Iterator, Mapping
from functools import cache, cached_property
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, StringConstraints, field_validator

from appliance.catalog import MachineState
from appliance.identity.roles import PERMISSIONS
from appliance.settings import REPOSITORY
from appliance.yamlfile import FileErrors, Part, Place, Source

FILE = REPOSITORY / "playbooks/workflows/master.yml"

Pool = Literal["creation", "buffer", "production", "none"]
Starter = Literal["people", "plan", "event", "engine"]
Name = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z_]{0,30}$")]
# A file has words and lists where Python has an enum and a tuple.
StateName = Annotated[MachineState, Field(strict=False)]
Text = Annotated[str, StringConstraints(min_length=1, max_length=200)]
Title = Annotated[str, StringConstraints(min_length=1, max_length=24)]

_PATTERNS = {r"^[a-z][a-z_]{0,30}$": "write a small letter, then small letters and underscores, 31 at most"}


class State(Part):
    """Where a machine can stand in its life."""

    name: StateName = Field(description="What the state is called everywhere; the catalog knows these names and no others.")
    title: Title = Field(description="What people read.")
    about: Text = Field(description="What it means, in a sentence.")
    pool: Pool = Field(description="The pool that its machines count to: creation, buffer, production or none.")
    start: bool = Field(default=False, description="Whether a machine's life begins here; one state has it.")
    end: bool = Field(default=False, description="Whether a machine's life ends here.")
    at: Annotated[tuple[Annotated[int, Field(ge=0, le=11)], Annotated[int, Field(ge=0, le=11)]], Field(strict=False)] = Field(
        description="Where the diagram has it: column and row, from 0."
    )


class Move(Part):
    """A way from a state to another."""

    name: Name = Field(description="What sequences and runs call it.")
    title: Title = Field(description="What people read.")
    about: Text = Field(description="What it does, in a sentence.")
    from_: Annotated[tuple[StateName, ...], Field(strict=False)] = Field(
        alias="from", description="The states that it can begin in; none when it is how a machine comes to be."
    )
    via: StateName | None = Field(default=None, description="The state in between, while the move is being made.")
    to: StateName = Field(description="The state that it ends in.")
    on_failure: StateName | None = Field(
        default=None, description="The state that a failure ends in; without it the machine stays where it was."
    )
    keeps: bool = Field(default=False, description="Whether it leaves the state as it is, and changes something else.")
    by: Annotated[tuple[Starter, ...], Field(strict=False, min_length=1)] = Field(
        description="Who begins it: people, who ask; plan, when the policy or somebody's request wants it; event, something that happens to the "
        "machine; engine, by itself as soon as a machine is in the state."
    )
    permission: str = Field(default="", description="What people need in order to ask for it.")
    own: bool = Field(default=False, description="Whether whoever holds the machine may ask for it as well.")
    core: Annotated[tuple[Name, ...], Field(strict=False)] = Field(
        default=(), description="The steps that make it, which no sequence can change."
    )
    sequences: bool = Field(default=False, description="Whether sequences can put activities before and after it.")

    @field_validator("permission")
    @classmethod
    def _known(cls, permission: str) -> str:
        if permission and permission not in PERMISSIONS:
            raise ValueError(f"there is no permission {permission}", f"write one of: {', '.join(PERMISSIONS)}")
        return permission

    @property
    def pairs(self) -> Iterator[tuple[MachineState, MachineState]]:
        """The changes of state that it is made of."""
        if not self.keeps:
            yield from ((state, self.via or self.to) for state in self.from_)
        if self.via:
            yield self.via, self.to
        if self.on_failure:
            yield from ((state, self.on_failure) for state in ([self.via] if self.via else self.from_) if state is not self.on_failure)


class Master(Part):
    """The whole of it. Only `load` makes one that is sound."""

    states: tuple[State, ...] = Field(strict=False, min_length=1, description="The states, in the order in which people read them.")
    moves: tuple[Move, ...] = Field(strict=False, min_length=1, description="The moves, in the order in which people read them.")

    @cached_property
    def state(self) -> Mapping[MachineState, State]:
        """The states by their names."""
        return {state.name: state for state in self.states}

    @cached_property
    def move(self) -> Mapping[str, Move]:
        """The moves by their names."""
        return {move.name: move for move in self.moves}

    @cached_property
    def targets(self) -> Mapping[MachineState, frozenset[MachineState]]:
        """For each state, those that a machine can change to."""
        return {state: frozenset(to for origin, to in self._pairs if origin is state) for state in MachineState}

    @cached_property
    def sources(self) -> Mapping[MachineState, frozenset[MachineState]]:
        """For each state, those that a machine can come from."""
        return {state: frozenset(origin for origin, to in self._pairs if to is state) for state in MachineState}

    @cached_property
    def _pairs(self) -> frozenset[tuple[MachineState, MachineState]]:
        return frozenset(pair for move in self.moves for pair in move.pairs)


def load(file: Path = FILE) -> Master:
    """Read and check a master workflow. Raises FileErrors, which names every error's line."""
    source = Source(file, Master, patterns=_PATTERNS)
    master = source.validate()
    if master and not source.errors:
        _check_names(source, master)
        _check_moves(source, master)
    if master and not source.errors:
        _check_life(source, master)
        _check_loops(source, master)
    if source.errors or master is None:
        raise FileErrors("The master workflow", source.errors)
    return master


@cache
def master() -> Master:
    """The master workflow of this appliance, read once."""
    return load()


def core(move: str) -> tuple[str, ...]:
    """The names of the steps that make a move."""
    return master().move[move].core


def _check_names(source: Source[Master], master: Master) -> None:
    """Every state there once, at a place of its own; one begins, one at least ends."""
    for kind, parts in (("states", master.states), ("moves", master.moves)):
        names = [part.name for part in parts]
        for number, name in enumerate(names):
            if (first := names.index(name)) != number:
                line = source.line((kind, first, "name"))
                source.wrong((kind, number, "name"), f"{name} is there twice, first in line {line}", "keep one of the two, or rename it")
    places: dict[tuple[int, int], State] = {}
    for number, state in enumerate(master.states):
        if (other := places.setdefault(state.at, state)) is not state:
            source.wrong(("states", number, "at"), f"{state.name} is drawn over {other.name}", "give it a column and row of its own")
    for missing in sorted(set(MachineState) - set(master.state)):
        source.wrong(("states",), f"the state {missing} is missing", f"add it: - name: {missing}")
    starts = [number for number, state in enumerate(master.states) if state.start]
    if not starts:
        source.wrong(("states",), "no state is the start", "write start: true at the one in which a machine's life begins")
    for number in starts[1:]:
        start = master.states[starts[0]].name
        source.wrong(("states", number, "start"), f"{start} is the start already", "keep start: true at one of the two")
    if not any(state.end for state in master.states):
        source.wrong(("states",), "no state is the end", "write end: true at the one in which a machine's life ends")


def _check_moves(source: Source[Master], master: Master) -> None:
    """Each move by itself."""
    starts = {state.name for state in master.states if state.start}
    ends = {state.name for state in master.states if state.end}
    for number, move in enumerate(master.moves):
        here, by = ("moves", number), set(move.by)
        for at, origin in enumerate(move.from_):
            if origin in move.from_[:at]:
                source.wrong((*here, "from", at), f"{move.name} begins in {origin} twice", "keep one of the two")
            if origin in ends:
                source.wrong((*here, "from", at), f"{move.name} begins in {origin}, which is an end", f"take {origin} out of from")
        if not move.from_ and not (move.to in starts and by <= {"people", "plan"}):
            hint = "write the states that it begins in; only a move to the start, begun by people or the plan, has none"
            source.wrong((*here, "from"), f"{move.name} begins nowhere", hint)
        if move.via in ends or (move.via and move.via in (*move.from_, move.to)):
            what = "which is an end" if move.via in ends else "where it begins or ends"
            source.wrong((*here, "via"), f"{move.name} goes through {move.via}, {what}", "write another state, or leave via out")
        if move.keeps and (move.from_ != (move.to,) or move.via):
            hint = f"write from: [{move.to}] and no via, or leave keeps out"
            source.wrong((*here, "keeps"), f"{move.name} keeps the state, but leads from one to another", hint)
        if move.to in move.from_ and not move.keeps and not move.via:
            hint = "write keeps: true if it changes something else, or another state"
            source.wrong((*here, "to"), f"{move.name} leads from {move.to} to itself", hint)
        if "people" in by and not move.permission:
            source.wrong(here, f"permission is missing in {move.name}", "add permission: what people need in order to ask for it")
        if "people" not in by and (move.permission or move.own):
            key = "permission" if move.permission else "own"
            source.wrong((*here, key), f"nobody can ask for {move.name}", f"add people to by, or leave {key} out")
        if by & {"event", "engine"} and (move.sequences or move.core):
            key = "sequences" if move.sequences else "core"
            source.wrong(
                (*here, key), f"{move.name} happens by itself: nothing can be done before it, in it or after it", f"leave {key} out"
            )


def _check_life(source: Source[Master], master: Master) -> None:
    """Every state is reached from the start, and has a way to an end."""
    reached = _closure((state.name for state in master.states if state.start), master.targets)
    ending = _closure((state.name for state in master.states if state.end), master.sources)
    for number, state in enumerate(master.states):
        if state.name not in reached:
            hint = f"write {state.name} as to or via of a move that begins in a state that machines reach"
            source.wrong(("states", number), f"nothing leads to {state.name}", hint)
        if state.name not in ending:
            hint = f"add {state.name} to from in a move that leads on"
            source.wrong(("states", number), f"no way leads from {state.name} to an end", hint)


def _closure(begin: Iterable[MachineState], edges: Mapping[MachineState, frozenset[MachineState]]) -> set[MachineState]:
    found, new = set[MachineState](), set(begin)
    while new:
        found |= new
        new = {state for one in new for state in edges[one]} - found
    return found


def _check_loops(source: Source[Master], master: Master) -> None:
    """What the engine does by itself comes to an end, and it never has a choice.

    By itself it goes from a `via` on to the `to`, or to `on_failure`, and makes the moves that are `by: [engine]`. A failure that
    does not go away must not send it round for ever, so failures count as well.
    """
    onward: dict[MachineState, tuple[MachineState, str]] = {}
    edges: dict[MachineState, dict[MachineState, Place]] = {state: {} for state in MachineState}
    for number, move in enumerate(master.moves):
        here: Place = ("moves", number)
        begun = move.from_ if "engine" in move.by else ()
        by_itself = [(origin, move.via or move.to, "via" if move.via else "to") for origin in begun]
        if move.via:
            by_itself.append((move.via, move.to, "to"))
        for origin, to, key in by_itself:
            other, first = onward.setdefault(origin, (to, move.name))
            if other is not to:
                hint = "let it have one way: another via, or a move that the engine does not begin"
                source.wrong((*here, key), f"from {origin} {move.name} leads on by itself to {to}, but {first} to {other}", hint)
            edges[origin].setdefault(to, (*here, key))
        if move.on_failure and move.on_failure is not move.via:
            for origin in [move.via] if move.via else begun:
                edges[origin].setdefault(move.on_failure, (*here, "on_failure"))
    for loop in _loops(edges):
        hint = "let people, the plan or an event begin one of its moves, or lead one elsewhere"
        source.wrong(edges[loop[-2]][loop[-1]], f"the engine would go round by itself for ever: {' -> '.join(loop)}", hint)


def _loops(edges: Mapping[MachineState, Iterable[MachineState]]) -> Iterator[list[MachineState]]:
    """A loop for each edge that closes one, its first state again at the end."""
    done: set[MachineState] = set()

    def walk(path: list[MachineState]) -> Iterator[list[MachineState]]:
        for to in edges[path[-1]]:
            if to in path:
                yield [*path[path.index(to) :], to]
            elif to not in done:
                yield from walk([*path, to])
        done.add(path[-1])

    for state in edges:
        if state not in done:
            yield from walk([state])
