"""A provider whose machines are small files in a folder: they outlive the process that made them, as real ones do.

So a test may kill an engine at any point, start another one over the same folder, and look itself at what is there.
Every change is one rename, made before the verb returns; a verb of several changes can be cut between any two of them.
"""

import json
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, MutableMapping, MutableSequence, MutableSet
from contextlib import suppress
from pathlib import Path
from typing import Any, Generic, TypeVar, overload
from urllib.parse import quote, unquote
from uuid import uuid4

from pydantic import TypeAdapter

from appliance import errors
from appliance.errors import DpeError
from appliance.hypervisor.provider import Fill, GuestSigns, MachineFound, Unfit
from appliance.scenario.rates import Rates
from tests.unit.engine.fake import Data, FakeProvider, Store

V = TypeVar("V")


class Shelf(MutableMapping[str, V], Generic[V]):
    """A mapping kept in a folder: one JSON file a key, which is there whole or not at all."""

    def __init__(self, folder: Path, dump: Callable[[V], Any], load: Callable[[Any], V]) -> None:
        self.folder, self._dump, self._load = folder, dump, load
        folder.mkdir(parents=True, exist_ok=True)

    def _file(self, key: str) -> Path:
        return self.folder / quote(key, safe="")

    def __getitem__(self, key: str) -> V:
        try:
            return self._load(json.loads(self._file(key).read_text()))
        except FileNotFoundError:
            raise KeyError(key) from None

    def __setitem__(self, key: str, value: V) -> None:
        fresh = self.folder / f".{uuid4()}"
        fresh.write_text(json.dumps(self._dump(value)))
        fresh.rename(self._file(key))

    def __delitem__(self, key: str) -> None:
        try:
            self._file(key).unlink()
        except FileNotFoundError:
            raise KeyError(key) from None

    def __contains__(self, key: object) -> bool:
        return isinstance(key, str) and self._file(key).exists()

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(unquote(file.name) for file in self.folder.iterdir() if not file.name.startswith(".")))

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def values(self) -> Any:
        """Of all that are there; one that goes meanwhile is left out."""
        found = []
        for key in self:
            with suppress(KeyError):
                found.append(self[key])
        return found


class Names(MutableSet[str]):
    """A set of names kept in a folder."""

    def __init__(self, folder: Path) -> None:
        self._shelf: Shelf[None] = Shelf(folder, lambda _: None, lambda _: None)

    @classmethod
    def _from_iterable(cls, names: Iterable[Any]) -> Any:
        return set(names)

    def __contains__(self, name: object) -> bool:
        return name in self._shelf

    def __iter__(self) -> Iterator[str]:
        return iter(self._shelf)

    def __len__(self) -> int:
        return len(self._shelf)

    def add(self, name: str) -> None:
        self._shelf[name] = None

    def discard(self, name: str) -> None:
        self._shelf.pop(name, None)


class Calls(MutableSequence[tuple[str, str]]):
    """Every call of a verb by any process, in their order: one line each."""

    def __init__(self, file: Path) -> None:
        self.file = file
        file.touch()

    def _all(self) -> list[tuple[str, str]]:
        return [(verb, of) for verb, of in map(json.loads, self.file.read_text().splitlines())]

    @overload
    def __getitem__(self, index: int) -> tuple[str, str]: ...
    @overload
    def __getitem__(self, index: slice) -> MutableSequence[tuple[str, str]]: ...
    def __getitem__(self, index: int | slice) -> Any:
        return self._all()[index]

    def __len__(self) -> int:
        return len(self._all())

    def __eq__(self, other: object) -> bool:
        return self._all() == other

    def append(self, call: tuple[str, str]) -> None:
        with self.file.open("a") as out:
            out.write(json.dumps(call) + "\n")

    def clear(self) -> None:
        self.file.write_text("")

    def insert(self, index: int, value: tuple[str, str]) -> None:
        raise NotImplementedError("what was called was called")

    __setitem__ = __delitem__ = insert  # type: ignore[assignment]


def _error(told: list[str]) -> DpeError:
    name, message, hint = told
    kind: type[DpeError] = Unfit if name == "Unfit" else getattr(errors, name)
    return kind(message, hint)


def _same(value: Any) -> Any:
    return value


def _shelf(folder: Path, kind: type[V]) -> Shelf[V]:
    adapter = TypeAdapter(kind)
    return Shelf(folder, lambda value: adapter.dump_python(value, mode="json"), adapter.validate_python)


def store(folder: Path) -> Store:
    """All that there is in a folder, which is made when it is not there; any process may look, and change it."""
    return Store(
        domains=_shelf(folder / "domains", MachineFound),
        files=Names(folder / "files"),
        forks=Names(folder / "forks"),
        made_of=Shelf[str](folder / "made_of", _same, _same),
        snapshots=Shelf[dict[str, Any]](folder / "snapshots", _same, _same),
        told=Shelf[bytes](folder / "told", bytes.decode, str.encode),
        signs=_shelf(folder / "signs", GuestSigns),
        data=_shelf(folder / "data", Data),
        backups=_shelf(folder / "backups", Data),
        kept=Shelf[int](folder / "kept", _same, _same),
        rates=_shelf(folder / "rates", Rates),
        fills=_shelf(folder / "fills", Fill),
        grown=Shelf[int](folder / "grown", _same, _same),
        fails=Shelf[DpeError](folder / "fails", lambda error: [type(error).__name__, error.message, error.hint], _error),
        calls=Calls(folder / "calls"),
    )


class DiskProvider(FakeProvider):
    """A FakeProvider over a folder. Each verb takes `delay` seconds, or as many as are said for its name: half before its work, half after.

    While a file `away` is in the folder the hypervisor cannot be reached.
    """

    def __init__(self, folder: Path, *, delay: float | Mapping[str, float] = 0.0, memory: int = 16_384) -> None:
        self.folder = folder
        super().__init__(memory, store(folder))
        self._delay = delay

    @property
    def away(self) -> bool:
        return (self.folder / "away").exists()

    @away.setter
    def away(self, away: bool) -> None:
        if away:
            (self.folder / "away").touch()
        else:
            (self.folder / "away").unlink(missing_ok=True)

    def pause(self, verb: str) -> None:
        """Half of what a verb takes."""
        time.sleep((self._delay.get(verb, 0.0) if isinstance(self._delay, Mapping) else self._delay) / 2)


def _slow(verb: str) -> Callable[..., Any]:
    real = getattr(FakeProvider, verb)

    def call(self: DiskProvider, *args: Any, **options: Any) -> Any:
        self.pause(verb)
        try:
            return real(self, *args, **options)
        finally:
            self.pause(verb)

    return call


VERBS = [name for name, member in vars(FakeProvider).items() if callable(member) and not name.startswith("_")]
for _verb in VERBS:
    setattr(DiskProvider, _verb, _slow(_verb))
