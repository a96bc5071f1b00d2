"""How `dpe-host` writes to the record of events, which it can do without."""

import logging
from zoneinfo import ZoneInfo

from appliance import catalog
from appliance.catalog import Actor, EventKind, Level, record, timezone
from appliance.settings import Settings

log = logging.getLogger(__name__)

HOST = Actor("dpe-host")


def zone(settings: Settings) -> ZoneInfo:
    """The appliance's time zone; UTC while the catalog cannot be asked."""
    try:
        catalog.attach(settings.catalog)
        return timezone.current()
    except Exception:  # as below: whoever asks has something else to do
        log.debug("the appliance's time zone is not known now", exc_info=True)  # the schedule asks twice a minute
        return ZoneInfo("UTC")
    finally:
        catalog.close()


def record_event(
    settings: Settings,
    kind: EventKind,
    message: str,
    *,
    level: Level | None = None,
    actor: Actor = HOST,
    object: str = "",
    hint: str = "",
) -> bool:
    """Record an event; whether that could be done. While the catalog cannot be used it is only in the log."""
    kind = EventKind(kind)
    log.log(logging.WARNING if (level or kind.level) is not Level.INFO else logging.INFO, "%s %s", message, hint)
    try:
        catalog.attach(settings.catalog)
        with catalog.write():
            record(kind, message, actor, level=level, object=object, hint=hint)
    except Exception as error:  # whoever tells has something else to do
        log.warning("that is not in the record of events: %s", error)
        return False
    finally:
        catalog.close()
    return True
