"""What the kinds of activity do that touch no machine, by kind."""

from collections.abc import Mapping

from appliance.workflow.activities import notify, people, wait, webhook
from appliance.workflow.runner import Handler, Queue

ACTIVITIES: Mapping[str, Handler] = {
    "approval": Handler(people.ask, people.withdraw, Queue.SHORT),
    "task": Handler(people.ask, people.withdraw, Queue.SHORT),
    "wait": Handler(wait.wait, queue=Queue.SHORT),
    "notify": Handler(notify.notify),
    "webhook": Handler(webhook.call),
}
