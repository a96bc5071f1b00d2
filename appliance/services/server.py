"""The server itself: what `dpe-host` does for an admin, who did it, and what it means."""

from appliance.catalog import Actor
from appliance.errors import Conflict
from appliance.host import tasks
from appliance.host.client import Client
from appliance.host.tasks import Task
from appliance.settings import Settings

RECENT = 10


def recent(settings: Settings) -> list[Task]:
    """The last tasks, the newest first. Raises Unavailable while dpe-host does not answer."""
    return Client(settings).tasks()[:RECENT]


def task(settings: Settings, id: str) -> Task:
    """Raises NotFound, and Unavailable while dpe-host does not answer."""
    return Client(settings).task(id)


def cancel(actor: Actor, settings: Settings, id: str) -> None:
    """Ask a task to end. Raises Conflict when it has ended."""
    client = Client(settings, actor.name)
    if client.task(id).state != tasks.RUNNING:
        raise Conflict("It has ended already.", "Reload the page.")
    client.ask("task.cancel")
