"""The scenario as the catalog has it, laid out for Ansible, and its classes and sequences in the catalog."""

import logging

from appliance import catalog
from appliance.catalog import EventKind, record, scenarios
from appliance.engine.adoption import adopt_sequences
from appliance.engine.jobs import Jobs
from appliance.errors import DpeError
from appliance.scenario.load import Loaded, load
from appliance.services import own_applications
from appliance.services.scenario_adoption import adopt_scenario
from appliance.settings import Settings

log = logging.getLogger(__name__)


def adopt(settings: Settings) -> Loaded | None:
    """Bring catalog and files in line with the current version. One that cannot be used (any more) is left, with an event: None."""
    try:
        loaded = load(scenarios.lay_out(settings), anywhere=True)
    except (DpeError, OSError) as error:
        log.error("%s", error)
        with catalog.write():
            hint = "Change it on the page Scenario, or go back to a version before."
            record(EventKind.SCENARIO_UNREADABLE, f"The scenario cannot be used: {error}", hint=hint)
        return None
    adopt_sequences(settings)
    adopt_scenario(loaded.scenario)  # whose classes follow them
    own_applications.note_hidden()
    return loaded


class Follower:
    """Notices another version, and removes the files of those before when nothing can have begun with them."""

    def __init__(self, settings: Settings, jobs: Jobs) -> None:
        self.settings, self.jobs = settings, jobs
        self._adopted, self._is_tidy = scenarios.digest(), False  # it was adopted at the start

    def is_due(self) -> bool:
        """Whether there is another version, or something to remove and nobody at work."""
        return scenarios.digest() != self._adopted or not (self._is_tidy or self.jobs.under_way())

    def follow(self) -> None:
        """Do it."""
        digest = scenarios.digest()
        if digest != self._adopted:
            adopt(self.settings)
            self._adopted, self._is_tidy = digest, False
        else:
            scenarios.tidy(self.settings)
            self._is_tidy = True
