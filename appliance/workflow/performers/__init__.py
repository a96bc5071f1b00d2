"""What the kinds of activity do that touch no machine, by kind."""

from collections.abc import Mapping

from appliance.workflow.performers import notify, people, wait, webhook
from appliance.workflow.runner import Lane, Performer

PERFORMERS: Mapping[str, Performer] = {
    "approval": Performer(people.ask, people.withdraw, Lane.HANDS),
    "task": Performer(people.ask, people.withdraw, Lane.HANDS),
    "wait": Performer(wait.wait, lane=Lane.HANDS),
    "notify": Performer(notify.notify),
    "webhook": Performer(webhook.call),
}
