"""The providers of the tests keep to what the real one does, and the one on disk outlives whoever uses it."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from appliance.hypervisor.provider import Power
from appliance.settings import REPOSITORY
from tests.disk_provider import DiskProvider
from tests.unit.hypervisor.test_provider import spec

BUSY = """
import sys
from pathlib import Path
from tests.disk_provider import DiskProvider
from tests.unit.hypervisor.test_provider import spec
provider = DiskProvider(Path(sys.argv[1]), delay=0.0)
print("now", flush=True)
while True:
    provider.clone(spec())
    provider.start(spec())
    provider.stop(spec().id)
    provider.destroy(spec().id)
"""


def test_one_that_is_killed_leaves_nothing_half_written(tmp_path: Path) -> None:
    for cut in range(8):
        with subprocess.Popen([sys.executable, "-c", BUSY, tmp_path], stdout=subprocess.PIPE, cwd=REPOSITORY) as process:
            assert process.stdout
            assert process.stdout.readline() == b"now\n"
            time.sleep(0.003 * cut)
            os.kill(process.pid, signal.SIGKILL)
        provider = DiskProvider(tmp_path)
        assert {found.id for found in provider.list()} <= {spec().id}
        provider.clone(spec())
        provider.start(spec())
        assert [found.power for found in provider.list()] == [Power.RUNNING]
        provider.destroy(spec().id)
        assert (provider.list(), provider.disks()) == ([], [])
