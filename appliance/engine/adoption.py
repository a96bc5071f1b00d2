"""The sequences that are shipped, and those that the scenario brings, become rows of the catalog."""

from appliance import catalog
from appliance.catalog import EventKind, record, scenarios
from appliance.settings import Settings
from appliance.workflow import kinds
from appliance.workflow.load import FOLDER as WORKFLOWS
from appliance.workflow.load import adopt_shipped


def adopt_sequences(settings: Settings) -> None:
    """Make what is shipped, and what the scenario brings, sequences; say which kinds of activity are missing."""
    adopt_shipped(WORKFLOWS, scenarios.lay_out(settings) / "workflows")
    with catalog.write():
        for name, problem in kinds.broken().items():
            message = f"The kind of activity {name} is missing: {problem}"
            record(EventKind.ACTIVITIES_MISSING, message, hint="Repair or remove the package that brings it.")
