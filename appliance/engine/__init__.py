"""The engine: the one process that touches the hypervisor, disks and Ansible, and where all rooms meet. See README.md."""

from appliance.engine.adoption import adopt_sequences
from appliance.engine.daemon import lock, main
from appliance.engine.engine import Engine
from appliance.engine.parking import park

__all__ = ["Engine", "adopt_sequences", "lock", "main", "park"]
