"""A service as its page shows it: where it is, and what each of its replicas does."""

from contextlib import closing
from dataclasses import dataclass
from datetime import timedelta

from appliance.catalog import Class, Replica, now, replicas
from appliance.errors import Unavailable
from appliance.readings import Kind, Store, Subject
from appliance.settings import Settings

LATELY = timedelta(minutes=5)


@dataclass(frozen=True)
class Standing:
    """A replica, and what it did last: requests a second, and seconds that one takes; None where that is not known."""

    replica: Replica
    requests: float | None
    latency: float | None

    @property
    def state(self) -> str:
        """serving, draining, or down."""
        return self.replica.state.value if self.replica.up else "down"


def of_class(settings: Settings, machine_class: Class) -> list[Standing] | None:
    """The replicas of a service, by their number; None for a class that is none."""
    if not machine_class.spec.get("service"):
        return None
    found = [replica for replica in replicas.all() if replica.class_name == machine_class.name]
    try:
        with closing(Store(settings.readings)) as store:
            return [Standing(replica, *_last(store, replica.machine_id)) for replica in found]
    except Unavailable:
        return [Standing(replica, None, None) for replica in found]


def _last(store: Store, machine_id: str) -> tuple[float | None, float | None]:
    read = store.series(Subject(Kind.MACHINE, machine_id), ["requests", "latency"], LATELY, now()).mean
    requests, latency = (next((value for value in reversed(read[name]) if value is not None), None) for name in ("requests", "latency"))
    return requests, latency


def address(settings: Settings, machine_class: Class) -> str:
    """Where a service is found."""
    service = machine_class.spec["service"]
    port = "" if settings.https_port == 443 else f":{settings.https_port}"
    return f"https://{service['name']}{port}{service['path']}"
