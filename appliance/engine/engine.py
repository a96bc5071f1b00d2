"""The reconciler over one catalog and one provider.

Each tick reads what is (the hypervisor) and what is wanted (the catalog), and hands out jobs, at most one a machine at a time, to a few
threads. A job does one idempotent thing and writes its outcome in one transaction; nothing is remembered between ticks that the catalog
does not say. So a killed engine simply starts again: what was half done is found under its derived name and adopted.
"""

import logging
import time
from typing import Any

from appliance import catalog
from appliance.catalog import doorbell, now, options, runs
from appliance.engine.clock import was_ahead
from appliance.engine.jobs import Jobs
from appliance.engine.periodic import Controllers, table, threads
from appliance.engine.schedule import Needs, Schedule
from appliance.hypervisor.provider import Provider
from appliance.lifecycle.handlers import Handlers, ended
from appliance.sd_notify import ALIVE, READY, notify
from appliance.settings import Settings
from appliance.workflow import kinds
from appliance.workflow.activities import ACTIVITIES
from appliance.workflow.runner import Runner

log = logging.getLogger("dpe.engine")

TICK = 1.0  # seconds between looks at the catalog when nobody rings
RESTS, LONGEST_REST = 3, 10.0  # times as long as a tick took, and seconds at most: on a slow host machines need the processor


class Engine:
    """Ticks. What it does at each is the table's."""

    def __init__(self, settings: Settings, provider: Provider) -> None:
        self.settings = settings
        self._bell = doorbell.Listener(settings.doorbell)
        self.jobs = Jobs(threads(settings), after=_after_job)
        handlers = Handlers(settings, provider)
        others = {plugin.kind.name: plugin.handler for plugin in kinds.plugins()}
        self.runner = Runner({**others, **ACTIVITIES, **handlers.all()}, ended=ended)
        self.controllers = Controllers(settings, provider, self.jobs, self.runner, handlers)
        self._set_aside, heartbeat = self.controllers.set_aside, self.controllers.heartbeat
        conditions = {
            Needs.DECISION: lambda: self._set_aside.decided,
            Needs.HYPERVISOR: lambda: heartbeat.seen is not None,
            Needs.SETUP: lambda: bool(options.get("setup_done")),
        }
        self.schedule = Schedule(table(self.controllers), conditions, self.jobs)
        with catalog.write():
            runs.requeue()
            if was_ahead():
                runs.look_again(now())
        self._started_at, self._ticks, self._tick_seconds = now().timestamp(), 0, 0.0
        heartbeat.internals = self.internals
        provider.watch(lambda _id: doorbell.ring())

    def internals(self) -> dict[str, Any]:
        """What it counts of itself, for monitoring: see services/metrics.py."""
        return {
            "start_time_seconds": self._started_at,
            "ticks_total": self._ticks,
            "tick_seconds_total": round(self._tick_seconds, 3),
            "jobs": self.jobs.load(),
        }

    def run(self) -> None:
        """Tick until `stop()`; a tick that fails is logged, and the next one tries again."""
        while not self.jobs.stopping:
            begun = time.monotonic()
            try:
                self.tick()
                notify(READY)  # systemd hears the first one
            except Exception:
                log.exception("a tick failed")
            notify(ALIVE)  # one that fails is none that hangs
            self._bell.wait(max(TICK, min(RESTS * (time.monotonic() - begun), LONGEST_REST)))
        self._set_aside.mark(immediately=True)

    def tick(self) -> None:
        """Look, compare, plan, and hand out jobs."""
        begun = time.monotonic()
        self.jobs.forget_ended()
        try:
            self.schedule.tick()
        finally:
            self._ticks, self._tick_seconds = self._ticks + 1, self._tick_seconds + time.monotonic() - begun

    def stop(self) -> None:
        """Make `run()` return soon. Jobs under way are cut off by the process's end, which they are made to survive."""
        self.jobs.stopping = True
        doorbell.ring()

    def close(self) -> None:
        """Let the threads end, and the bell go."""
        self.jobs.close()
        self.controllers.recorder.close()
        self._set_aside.mark(immediately=True)
        self._bell.close()


def _after_job() -> None:
    catalog.close()
    doorbell.ring()
