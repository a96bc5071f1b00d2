"""What is read, of whom, and which values are believed."""

import re
from enum import StrEnum
from typing import NamedTuple


class Kind(StrEnum):
    """What readings are of."""

    HOST = "host"
    CLASS = "class"
    MACHINE = "machine"


class Subject(NamedTuple):
    """Whose readings: the host's, those of the class with this name, or of the machine with this id; `metric` names what an application sent."""

    kind: Kind
    name: str = ""
    metric: str = ""


HOST = Subject(Kind.HOST)

# Each is a column; one that is new here is added to a file that lacks it. All are gauges or rates, so that a mean over any time makes sense.
FIGURES = {
    "cpu": "share of the processors that are busy, 0 to 1",
    "memory": "MiB that there are",
    "memory_used": "MiB that the guest says it uses",
    "memory_private": "MiB of the host's memory that a machine takes alone",
    "memory_shared": "MiB of the host's memory that machines take together",
    "memory_other": "MiB that the host itself uses",
    "memory_allocated": "MiB that machines may grow to",
    "memory_allocatable": "MiB that may be allocated at most",
    "disk_read": "bytes a second",
    "disk_written": "bytes a second",
    "net_received": "bytes a second, to the machine",
    "net_sent": "bytes a second, from it",
    "disk_usage": "share of the host's disk that is taken, 0 to 1",
    "creation": "machines that are being made",
    "buffer": "machines that wait for somebody",
    "production": "machines that people hold",
    "queue": "machines that people wait for",
    "jobs": "jobs that wait or run",
    "wait": "seconds that the first of the queue has waited",
    "hits": "requests an hour that were met at once",
    "misses": "requests an hour that had to wait",
    "requests": "requests a second to a service, or to one of its replicas",
    "requests_failed": "of them those that were answered with a status of 500 and more",
    "requests_queued": "requests that wait until a replica has room",
    "latency": "seconds that the last thousand requests took, on average",
    "replicas": "replicas that serve",
    "replicas_wanted": "replicas that there are to be",
    "value": "what an application sent",
}

METRICS_EACH = 20  # names under which the application of one machine may send values
LARGEST = 1e15
_METRIC = re.compile(r"[a-z][a-z0-9_.-]{0,39}")


def is_metric(name: str) -> bool:
    """Whether an application may send values under this name."""
    return _METRIC.fullmatch(name) is not None


def plausible(value: float | None, most: float = LARGEST) -> float | None:
    """The value, or None for one that cannot be: no number, negative, or above `most`."""
    return value if value is not None and 0 <= value <= most else None  # what is no number is not between any
