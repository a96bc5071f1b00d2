"""What nginx says by itself: one page in many words, in each language, written where nginx finds it.

A page is there without any other process of the appliance, so it is a file, with its style in it.
"""

from dataclasses import dataclass
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from appliance import durable, language

PORTAL = "/_dpe/portal"


@dataclass(frozen=True)
class Page:
    """`again` are the seconds after which it is asked for once more by itself; `waits` says that something is on its way."""

    title: str
    text: str
    link: str = "To your page"
    to: str = PORTAL
    again: int = 0
    waits: bool = False
    elsewhere: bool = False  # whether the link opens in another tab


PAGES = {
    "cookies": Page(
        "There were too many cookies",
        "Pages of machines had left more cookies in this browser than the appliance can take. They are removed now, and you are signed out. Reload this page and sign in; your machines are as they were.",
    ),
    "denied": Page("This is not your machine", "Only the person who holds a machine can open its application."),
    "down": Page(
        "The appliance is not answering",
        "It is starting, or something went wrong. This page tries again by itself every few seconds.",
        link="It stays like this, and I am its admin",
        to="/rescue/",
        again=3,
        waits=True,
    ),
    "foreign": Page("This request came from another site", "Open the machine's application from your own page instead."),
    "long": Page("That address is too long", "The appliance takes addresses of up to 64,000 characters. Go back, and try a shorter one."),
    "nobody": Page("There is no machine here", "It was given back, or its time ended. You can get a new one on your page."),
    "rests": Page(
        "The machine is switched off",
        "It was stopped or suspended, and keeps what is on it. Start it on your page; this one goes on by itself.",
        again=5,
    ),
    "service": Page(
        "This page is not there for a moment",
        "What serves it is starting. This page tries again by itself every few seconds.",
        link="",
        again=3,
        waits=True,
    ),
    "signed-out": Page(
        "You are signed out",
        "What you sent was not passed on, and is not lost: sign in in another tab, come back to this one, and reload it. The browser asks whether to send it again; say yes.",
        link="Sign in in another tab",
        to="/",
        elsewhere=True,
    ),
    "starting": Page("The machine is getting ready", "This page tries again by itself every few seconds.", again=3, waits=True),
    "unreachable": Page(
        "The machine does not answer yet",
        "It may still be starting its application. This page tries again by itself every few seconds.",
        again=3,
        waits=True,
    ),
    "unreadable": Page(
        "The appliance could not read that",
        "What the browser sent is no request that it understands. Go back and try again; if it happens again, close the browser and open it anew.",
    ),
}


def write(folder: Path) -> None:
    """Write all of them there, in a folder for each language, for a web server that is not root."""
    environment = Environment(loader=FileSystemLoader(Path(__file__).parent), autoescape=True, undefined=StrictUndefined, trim_blocks=True)
    template = environment.get_template("page.html")
    for spoken in language.LANGUAGES:
        place = folder / spoken
        place.mkdir(parents=True, exist_ok=True)
        for one in (folder, place):
            one.chmod(0o755)
        say = language.catalog(spoken).text
        for name, page in PAGES.items():
            durable.write(place / f"{name}.html", template.render(page=page, language=spoken, say=say), mode=0o644)


def asked_for(spoken: str) -> str:
    """A pattern of the header Accept-Language, of which this is the first language that there is. Browsers send it in the order of what
    is liked best; the weights say the same once more."""
    return rf"^(?:\s*+(?!(?:{'|'.join(language.LANGUAGES)})\b)[^,]*,)*\s*{spoken}\b"
