"""Memory that a running machine is given, and gives back: its virtio-mem device, and what its kernel says of its memory."""

import re
import time

from appliance.errors import Unavailable
from appliance.hypervisor.libvirt import agent, monitor, xml
from appliance.hypervisor.libvirt.base import Base, find
from appliance.hypervisor.provider import GuestMemory, MemoryGiven

DEVICE = f"/machine/peripheral/{xml.GROWTH}"
MEMINFO = "/proc/meminfo"
_LINE = re.compile(r"^(MemTotal|MemAvailable): +(\d+) kB$", re.MULTILINE)


class Growing(Base):
    """One device a machine, of which it has as much as it was asked to take."""

    def memory_given(self, id: str) -> MemoryGiven | None:
        with self._connection.use() as connection:
            domain = find(connection, id)
            if domain is None or not domain.isActive() or f"{xml.GROWTH}mem" not in domain.XMLDesc():
                return None
            asked, has = (monitor.say(domain, "qom-get", path=DEVICE, property=name) for name in ("requested-size", "size"))
            return MemoryGiven(asked >> 20, has >> 20)

    def give_memory(self, id: str, more: int) -> None:
        with self._connection.use() as connection:
            monitor.say(connection.lookupByUUIDString(id), "qom-set", path=DEVICE, property="requested-size", value=more << 20)

    def guest_memory(self, id: str, *, timeout: float = 5) -> GuestMemory:
        """Read as a file: a machine without memory may be unable to start a program."""
        deadline = time.monotonic() + timeout
        with self._connection.use() as connection:
            domain = connection.lookupByUUIDString(id)
            with agent.listening(domain, timeout):
                told = dict(_LINE.findall(agent.read(domain, MEMINFO, deadline=deadline, within=timeout)))
        try:
            return GuestMemory(int(told["MemTotal"]) >> 10, int(told["MemAvailable"]) >> 10)
        except KeyError as error:
            raise Unavailable(f"{domain.name()} does not say how much memory it has.") from error
