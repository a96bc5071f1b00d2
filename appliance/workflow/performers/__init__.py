"""What the kinds of activity do that touch no machine, by kind."""

from collections.abc import Mapping

from appliance.workflow.performers import notify, people, wait, webhook
from appliance.workflow.runner import Performer, Queue

PERFORMERS: Mapping[str, Performer] = {
    "approval": Performer(people.ask, people.withdraw, Queue.SHORT),
    "task": Performer(people.ask, people.withdraw, Queue.SHORT),
    "wait": Performer(wait.wait, queue=Queue.SHORT),
    "notify": Performer(notify.notify),
    "webhook": Performer(webhook.call),
}
