"""The id of the request that something is done for. nginx gives it; access log, log lines, events, errors and runs carry it, in every process."""

import logging
import re
from contextvars import ContextVar

HEADER = "X-Request-ID"
_ID = re.compile(r"[0-9a-f]{32}")  # what nginx makes

current: ContextVar[str] = ContextVar("request_id", default="")


def begin(id: str) -> None:
    """What this thread does from now on is done for this request; for none that is known with what is no id."""
    current.set(id if _ID.fullmatch(id) else "")


class Told(logging.Filter):
    """Has each line end with the id, where there is one."""

    def filter(self, record: logging.LogRecord) -> bool:
        id = current.get()
        record.request = f" request={id}" if id else ""
        return True


def log_to_stderr(level: int = logging.INFO) -> None:
    """Log lines of this process: time, level, who says it, what, and for which request."""
    handler = logging.StreamHandler()
    handler.addFilter(Told())
    logging.basicConfig(level=level, format="%(asctime)s %(levelname)s %(name)s %(message)s%(request)s", handlers=[handler])
