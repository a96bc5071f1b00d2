"""Pages as people read them."""

import re

_BREAKS = re.compile(r"(<(textarea|pre)\b.*?</\2>)|\n\s*", re.DOTALL)


def on_one_line(page: str) -> str:
    """A page of HTML without its template's line ends, which are nothing to a reader; what keeps its lines on the page keeps them here."""
    return _BREAKS.sub(lambda match: match[1] or " ", page)
