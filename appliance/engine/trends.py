"""In how many days disk and memory are used up, by what was read over the last weeks; kept in the catalog for whoever has to do something."""

import math
from datetime import timedelta

from appliance import catalog
from appliance.catalog import now, options
from appliance.engine.readings import Readings
from appliance.readings import HOST, Store
from appliance.readings.trend import days_until
from appliance.settings import Settings

EVERY = 600.0  # seconds
SPAN = timedelta(days=30)
SOON = 30  # days; nothing is said of what comes later


class Trends:
    """The option `trends`: whole days by `disk` and `memory`, of what comes soon."""

    def __init__(self, settings: Settings, store: Store, readings: Readings) -> None:
        self.settings, self.store, self.readings = settings, store, readings

    def judge(self) -> None:
        """Look at the readings, and note what is another number of days than before."""
        facts = self.readings.facts
        if facts is None:
            return
        series = self.store.series(HOST, ("disk_usage", "memory_private", "memory_other"), SPAN, now())
        machines, others = series.mean["memory_private"], series.mean["memory_other"]
        memory = [None if one is None or other is None else one + other for one, other in zip(machines, others, strict=True)]
        levels = {
            "disk": (series.mean["disk_usage"], 1 - self.settings.disk_reserve / facts.disk if facts.disk else 1.0),
            "memory": (memory, float(facts.memory - self.settings.host_reserve)),
        }
        days = {name: days_until(series.times, values, level) for name, (values, level) in levels.items()}
        found = {name: math.ceil(left) for name, left in days.items() if left is not None and left <= SOON}
        if found != options.get("trends"):
            with catalog.write():
                options.put("trends", found)
