"""Languages: every text has its translation, and each person reads in theirs."""

import json
import re
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from html import unescape
from html.parser import HTMLParser
from pathlib import Path

import pytest
import yaml
from babel.messages.pofile import read_po
from flask import Flask, g
from jinja2 import Environment, nodes

from appliance import catalog, language
from appliance.catalog import ROOT, Account, Actor, Class, Group, Machine, OrgUnit, database, options, outgoing_mail
from appliance.services import sequences
from tests import world
from tests.pages import on_one_line
from tests.unit.webui.conftest import Browser
from webui import charts, texts
from webui.format import ago, mib, plural, roughly
from webui.language import dated
from webui.template_texts import Texts

pytestmark = pytest.mark.i18n

PLACES = re.compile(r"%\(\w+\)s|</?\w+>")


class Shown(HTMLParser):
    """What a page says: its texts and the attributes that people read."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.said: list[str] = []
        self.hidden = 0
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.hidden += tag in ("script", "style")
        self.said += [value for name, value in attrs if value and name in ("title", "aria-label", "placeholder", "data-label")]

    def handle_endtag(self, tag: str) -> None:
        self.hidden -= tag in ("script", "style")

    def handle_data(self, data: str) -> None:
        if not self.hidden and data.strip():
            self.said.append(" ".join(data.split()))


@pytest.fixture(scope="module")
def sources() -> texts.Found:
    return texts.found(lambda text: f"⟦{text}⟧")


def test_every_text_of_the_sources_is_in_german(sources: texts.Found) -> None:
    assert texts.untranslated("de", sources) == [], "make translations lists them; they belong into appliance/language/de"


def test_translations_fill_the_same_places() -> None:
    with language.file("de").open("rb") as opened:
        messages = [message for message in read_po(opened, locale="de") if message.id]
    for message in messages:
        assert not message.fuzzy, message.id
        pairs = zip(message.id, message.string, strict=True) if message.pluralizable else [(message.id, message.string)]
        for english, german in pairs:
            assert sorted(PLACES.findall(english)) == sorted(PLACES.findall(german)), (english, german)


def german_glossary() -> Iterator[tuple[str, str]]:
    """The pairs of the table in webui/README.md that are one word for one: "lease" and "Leihe"."""
    text = (texts.ROOT / "webui/README.md").read_text().split("| English | German |", 1)[1].split("\n## ", 1)[0]
    for line in text.splitlines():
        if line.startswith("| ") and "---" not in line:
            first, german, second, also = (cell.strip() for cell in line.strip("|").split("|"))
            for here, there in ((first, german), (second, also)):
                words, said = (re.sub(r"\(.*?\)|;.*", "", one).split(", ") for one in (here, there))
                yield from zip(words, said, strict=True) if len(words) == len(said) else [(words[0], said[0])]


def test_one_thing_has_one_german_word() -> None:
    spoken, pairs = language.catalog("de"), list(german_glossary())
    assert len(pairs) > 55
    said = {(one, german.strip()): spoken.text(one) for english, german in pairs for one in (english.strip(), english.strip().capitalize())}
    del said["Move", "Übergang"]  # what a button does to a disk
    other = {pair: found for pair, found in said.items() if pair[0] != found and pair[1].casefold()[:5] not in found.casefold()}
    assert other == {("fork", "forken"): "Fork"}, "the verb, and the noun"
    never = re.findall(r"\(never (\w+)\)", (texts.ROOT / "webui/README.md").read_text())
    assert never
    with language.file("de").open("rb") as opened:
        everything = [str(message.string) for message in read_po(opened, locale="de") if message.id]
    assert [text for text in everything if any(word in text for word in never)] == []


def test_no_text_of_a_template_is_passed_over(sources: texts.Found) -> None:
    for file, template in sources.templates.items():
        page = "".join(
            one.data if isinstance(one, nodes.TemplateData) else one.value if isinstance(one, nodes.Const) else "\0"
            for output in template.find_all(nodes.Output)
            for one in output.nodes
            if not (isinstance(one, nodes.Const) and not isinstance(one.value, str))
        )
        page = re.sub(r"(?s)<(script|style|svg)\b.*?</\1>|<!--.*?-->|<!doctype[^>]*>", "", page)
        left = re.sub(r"(?s)⟦.*?⟧", "", re.sub(r"(?s)<[a-zA-Z/](?:\"[^\"]*\"|'[^']*'|[^>\"'])*>", "", page))
        assert not re.findall(r"(?<![\w=\"-])[A-Z][a-z]+ [a-z]+", left), (file.name, left.split())


def test_inline_tags_and_places_move_with_the_sentence() -> None:
    environment = Environment(autoescape=True)
    german = {
        "See <a>the log</a> of %(name)s.": "Das Protokoll von %(name)s steht <a>hier</a>.",
        "Delete %(name)s?": "%(name)s löschen?",
        "Close it": "Schließen",
    }
    source = '<p title="Close it">See <a href="{{ url }}">the log</a> of {{ one.name }}.</p><b>{{ "Delete " ~ one.name ~ "?" }}</b>'
    template = Texts(german.get).translate(environment.parse(source))
    rendered = environment.from_string(template).render(url="/log", one={"name": "<m-1>"})
    assert rendered == ('<p title="Schließen">Das Protokoll von &lt;m-1&gt; steht <a href="/log">hier</a>.</p><b>&lt;m-1&gt; löschen?</b>')


def test_sentences_that_python_put_together_are_found_again() -> None:
    said = language.catalog("de").sentence
    assert said("ada made the account bob.") == "ada hat das Konto bob erstellt."
    assert said("There is no such machine. It may have been given back.") == (
        "Eine solche Maschine gibt es nicht. Vielleicht wurde sie zurückgegeben."
    )
    assert said("Seed notebook v3 failed: The disk is full.") == "Vorlage notebook v3, fehlgeschlagen: Der Datenträger ist voll."
    assert said("2 machines") == "2 Maschinen"
    assert said("There is already a group Machines.") == "Es gibt schon eine Gruppe Machines."  # what a person wrote is data
    assert said("Something that nobody translated.") == "Something that nobody translated."


@pytest.mark.parametrize(
    ("english", "german"),
    [
        # words that were chosen before the sentence was made of them
        ("grace took back m-1.", "grace hat m-1 eingezogen."),
        ("ada gave back m-1.", "ada hat m-1 zurückgegeben."),
        ("alan waits for a studio: none is ready.", "alan wartet auf eine Maschine der Klasse studio: Keine ist bereit."),
        ("m-1 is being made for the buffer.", "m-1 wird für den Puffer erstellt."),
        ("m-1 is removed: fewer are wanted.", "m-1 wird entfernt: es werden weniger gebraucht."),
        ("fewer are wanted", "es werden weniger gebraucht"),
        ("ended with status 3", "mit Status 3 beendet"),
        ("The data disk t is damaged: a hole", "Die Datenplatte t ist beschädigt: a hole"),
        ("The seed n v3 is here, and the catalog does not know it: it is set aside.",
         "Die Vorlage n v3 ist hier, und der Katalog kennt sie nicht: Sie ist beiseitegelegt."),
        # what a person said is theirs
        ("The boss: mary said no: Not now. Ask again.", "The boss: mary hat Nein gesagt: Not now. Ask again."),
        # a field and what is wrong with it, by whomever the field was called
        ("Full name: it is longer than 100 characters.", "Voller Name: Es ist länger als 100 Zeichen."),
        ("Maximum of Ours: a number is missing.", "Höchstzahl von Ours: Eine Zahl fehlt."),
        ("Name: Input should be greater than or equal to 3.", "Name: Es muss wenigstens 3 sein."),
        ("String should have at least 1 character", "Es muss wenigstens 1 Zeichen haben"),
        # what is wrong with a file, and what to do about it; in a form it is a sentence
        ("titel is not a known key; write title", "titel ist kein bekannter Schlüssel; schreiben Sie title"),
        ("Minimum (7) is above maximum (3).", "Minimum (7) liegt über maximum (3)."),
        ("the short name is missing", "der Kurzname fehlt"),
        # why no more machines are made
        ("the host's disk: 9 MiB needed, 2 MiB left; give machines back, or add disk space; a goes first, by priority",
         "der Datenträger des Servers: 9 MiB gebraucht, 2 MiB übrig; geben Sie Maschinen zurück, oder fügen Sie Platz hinzu; "
         "a geht vor, nach der Priorität"),
        ("Your quota: 2 of 2 machines in use.", "Ihr Kontingent: 2 von 2 Maschinen benutzt."),
    ],
)  # fmt: skip
def test_what_is_put_together_of_parts_is_found_again(english: str, german: str) -> None:
    assert language.catalog("de").sentence(english) == german


def test_words_that_a_function_chooses_are_said_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A sentence with a place for its verb would be found by no word of its own."""
    source = """
WAYS = {"a": "by mail", "b": "by a link"}

def tell(name, own, way, more):
    word = "gave back" if own else "took back"
    many = f", and {more} more" if more else ""
    record(kind, f"{name} {word} it {WAYS[way]}{many}.")
    why = "it is old"
    wrong(why, name)

def loop(names, record):
    for word in names:
        record(f"Every {word} is read.")
"""
    monkeypatch.setattr(texts, "ROOT", tmp_path)
    monkeypatch.setattr(texts, "SPEAKING", ("some",))
    (tmp_path / "some.py").write_text(source)
    found = texts.Found()
    texts._of_python(found, tmp_path / "some.py")
    verbs, ways, ends = ("gave back", "took back"), ("by mail", "by a link"), ("", ", and %(more)s more")
    expected = {f"%(name)s {verb} it {way}{end}." for verb in verbs for way in ways for end in ends}
    assert set(found.texts) - {"by mail", "by a link"} == {*expected, "it is old", "Every %(word)s is read."}


# Of which nothing but their places can be seen in what was said, so that they are never found again; what makes them puts each into the language.
BARE = {
    "%(first)s to %(last)s", "%(first)s to %(last)s of %(all)s", "%(name)s on %(system)s", "%(short)s ms", "%(title)s to %(title2)s",
    "%(address)s, gateway %(gateway)s", "%(class_name)s v%(facts)s", "It is %(name)s's.",
    "It is a %(name)s.", "It is at %(at)s.",  # what programs and files are told
}  # fmt: skip


def test_a_sentence_has_words_by_which_it_is_found_again(sources: texts.Found) -> None:
    spoken = [text for text, files in sources.texts.items() if language.PLACE.search(text) and any(file.endswith(".py") for file in files)]
    assert len(spoken) > 1400
    bare = {text for text in spoken if not re.search(r"[^\W\d_]{3,}", language.PLACE.sub(" ", text))}
    assert bare - BARE == set()


def test_times_numbers_and_plurals_are_the_languages(app: Flask) -> None:
    with app.test_request_context():
        g.language = "de"
        assert dated(datetime(2026, 11, 3, 14, 5, tzinfo=UTC), "%-d %b %Y %H:%M") == "3. Nov. 2026 14:05"
        assert dated(date(2026, 12, 1), "%a %-d %b") == "Di. 1. Dez."
        assert (mib(1536), plural(1, "machine"), plural(2, "machine")) == ("1,5 GiB", "1 Maschine", "2 Maschinen")
        assert roughly(timedelta(minutes=4)) == "etwa 4 Minuten"
        assert ago(catalog.now() - timedelta(hours=2, minutes=3)).striptags() == "vor 2 h"
        g.language = "en"
        assert dated(datetime(2026, 11, 3, 14, 5, tzinfo=UTC), "%-d %b %Y %H:%M") == "3 Nov 2026 14:05"
        assert (mib(1536), plural(2, "machine")) == ("1.5 GiB", "2 machines")


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("/admin/scenario/classes/notebook/delete", ["3 Vorlagen"]),
        ("/admin/accounts/4/delete", ["1 Rolle", "ein Platz in 1 Gruppe; sie verschwinden mit dem Konto"]),
        ("/admin/machines/?text=nobody", ["Kein Treffer: Maschine."]),
        ("/admin/settings/", ["Es hält die Seiten selbst am Laufen."]),
        ("/docs/command-line", ["dpe classes\ndpe get notebook\ndpe list\n"]),  # what is typed keeps its lines
        ("/todo/", ["Ja sagen", "Nein sagen"]),
        ("/needs/", ["1 Genehmigung oder Aufgabe wartet auf Sie"]),
        ("/admin/settings/", [">nein<"]),
        ("/admin/server/hardware", ["Maschinen der Klasse notebook"]),
        ("/guide/reference/permissions", ["<th>Geltungsbereich", "das Szenario ändern: was Maschinen sind", "die Appliance, eine Klasse"]),
        ("/guide/reference/permissions", ["Geltungsbereiche von API-Token</h2>", "Wofür ein API-Token gut ist"]),
        ("/guide/reference/addresses", ["<th>Adresse", "jede und jeder"]),
        ("/guide/reference/settings", ["<th>Einstellung", "Nur dort: ", '#sessions">Einstellungen</a>']),
        ("/admin/classes/", ["1 wird eingezogen"]),
        ("/admin/seeds/2", ["Betriebssystem", "Dauer des Baus", "3 min 12 s"]),
    ],
)
def test_what_is_counted_measured_and_typed_is_german_too(people: dict[str, Actor], grace: Browser, path: str, said: list[str]) -> None:
    world.asking(people)
    world.scenario(offered=False)
    page = grace.get(path, **{"Accept-Language": "de"}).text
    assert [one for one in said if one not in unescape(page) and one not in unescape(on_one_line(page))] == []


def test_a_list_says_in_german_where_it_is(people: dict[str, Actor], grace: Browser) -> None:
    world.many_machines(Class.get_by_id("notebook"), 120, people["mary"])
    page = on_one_line(grace.get("/admin/machines/", **{"Accept-Language": "de"}).text)
    assert re.search(r"1 bis 40 von \d+ Maschinen<", page)
    assert re.search(r"Alle \d+ Maschinen, die passen<", page)


def test_a_figure_is_written_as_its_language_writes_numbers(app: Flask) -> None:
    def words(*figures: tuple[float | None, str]) -> list[str]:
        return [charts.words(*figure) for figure in figures]

    with app.test_request_context():
        g.language = "de"
        assert words((90_000, "bytes"), (2.5, "hourly"), (0.0123, "brief"), (None, "count")) == [
            "87,9 KiB/s",
            "2,5 je Stunde",
            "12,3 ms",
            "fehlt",
        ]
        g.language = "en"
        assert words((90_000, "bytes"), (2.5, "hourly"), (1234.5, "rate"), (0, "rate")) == ["87.9 KiB/s", "2.5 an hour", "1234/s", "0/s"]


def test_a_person_reads_in_the_language_that_they_chose(ada: Browser, visitor: Browser) -> None:
    assert '<html lang="en"' in visitor.get("/sign-in").text
    asked = visitor.get("/sign-in", **{"Accept-Language": "de-AT,en;q=0.5"}).text
    assert '<html lang="de"' in asked
    assert "Melden Sie sich an" in asked
    assert '<html lang="en"' in visitor.get("/sign-in", **{"Accept-Language": "fr"}).text
    with catalog.write():
        options.put("language", "de")
    assert '<html lang="de"' in visitor.get("/sign-in", **{"Accept-Language": "fr"}).text

    ada.get("/account")
    assert ada.post("/account/language", {"language": "de"}).status_code == 303
    page = ada.get("/account", **{"Accept-Language": "en"}).text
    assert '<html lang="de"' in page
    assert "Passwort ändern" in page
    ada.post("/sign-out")
    ada.sign_in("ada")
    assert '<html lang="de"' in ada.get("/", **{"Accept-Language": "en"}).text
    refused = ada.post("/account/password", {"old": "wrong", "new": "long enough for anybody"}).text
    assert "Das alte Passwort stimmt nicht." in refused
    answer = ada.post("/account/language", {"language": "tlh"})
    assert answer.status_code == 400
    assert "Eine Sprache &#39;tlh&#39; gibt es hier nicht." in answer.text


def test_programs_are_answered_in_english(ada: Browser) -> None:
    ada.get("/account")
    ada.post("/account/language", {"language": "de"})
    answer = ada.get("/api/v1/machines/nothing", Accept="application/json")
    assert answer.json
    assert answer.json["title"] == "There is no such machine."


def test_pages_in_german_have_no_english_text_left(ada: Browser, grace: Browser) -> None:
    with language.file("de").open("rb") as opened:
        english = {one.id for one in read_po(opened, locale="de") if isinstance(one.id, str) and one.id != one.string and " " in one.id}
    for browser, pages in ((ada, ("/", "/account", "/todo/", "/account/tokens")), (grace, ("/admin/", "/admin/machines/", "/needs/"))):
        for page in pages:
            answer = browser.get(page, **{"Accept-Language": "de"})
            assert answer.status_code == 200
            assert not [text for text in Shown(answer.text).said if text in english], page


@pytest.mark.i18n
def test_what_a_person_called_something_stays_so_where_a_text_of_ours_is_called_the_same(people: dict[str, Actor], grace: Browser) -> None:
    """Data is Daten, Storage is Speicher, and Machines are Maschinen, where we say it."""
    with catalog.write():
        unit = OrgUnit.create(parent=ROOT, name="Data")
        Group.create(name="Data group", about="Machines", org_unit=unit)
        Class.update(spec={**world.STUDIO, "title": "Storage"}).where(Class.name == "studio").execute()
    world.machine_class("data", {**world.STUDIO, "title": "Storage"})
    pages = (
        "/",
        "/admin/",
        "/admin/classes/",
        "/admin/classes/data",
        "/admin/classes/data/policy",
        "/admin/machines/",
        "/admin/grants/",
        "/admin/accounts/new",
    )
    for page in pages:
        main = grace.get(page, **{"Accept-Language": "de"}).text.split("<main")[-1]
        assert not re.findall(r"[^<]*\b(?:Speicher|Daten)\b(?=</h|</a>|<option|</option|\"| deaktivieren)", main), page
    found, offered = (
        on_one_line(grace.get(f"/search?{query}", **{"Accept-Language": "de", "HX-Request": "true"}).text)
        for query in ("q=data", "offer=holder&field=name&name=data")
    )
    for words in ("<span>Data</span>", "<span>data</span><small>Storage</small>", "<span>Data group</span><small>Machines</small>"):
        assert words in found
    assert "<small>Machines</small>" in offered
    assert '<div class="found-title" id="found-1">Organisationseinheiten</div>' in found
    machine = Machine.get(Machine.owner == people["ada"].account_id)
    assert (
        "<small>in Benutzung, ada</small>" in grace.get(f"/search?q={machine.name}", **{"Accept-Language": "de", "HX-Request": "true"}).text
    )


@pytest.mark.i18n
def test_what_the_document_of_the_api_says_is_never_half_german(grace: Browser) -> None:
    """Parts of its sentences are texts of ours, like what "has changed"."""
    document = grace.get("/api/v1/openapi.json").text
    told = {
        one for value in re.findall(r'"(?:summary|description)":\s*("(?:[^"\\]|\\.)*")', document) for one in json.loads(value).split(". ")
    }
    for area in ("accounts", "grants", "scenario", "seeds", "runs", "webhooks"):
        page = on_one_line(grace.get(f"/docs/api/{area}", **{"Accept-Language": "de"}).text)
        found = [unescape(one).strip() for one in re.findall(r'lang="en">(.*?)</(?:p|span)>', page)]
        assert found
        assert [one for text in found for one in text.split(". ") if one.removesuffix(".") not in told and one not in told] == [], area


@pytest.mark.i18n
def test_a_sequence_that_was_made_here_keeps_its_title(people: dict[str, Actor], grace: Browser) -> None:
    sequences.create(people["grace"], "own", "Machines", "Storage")
    for page in ("/admin/workflow/sequences/", "/admin/workflow/sequences/own"):
        main = grace.get(page, **{"Accept-Language": "de"}).text.split("<main")[-1]
        assert "Machines" in main
        assert "Storage" in main


def test_a_name_that_is_kept_or_written_down_is_text() -> None:
    assert yaml.safe_dump({"title": language.Written("Data")}) == "title: Data\n"


def test_mail_is_in_the_language_of_who_reads_it(people: object) -> None:
    with catalog.write():
        options.put("mail", {"on": True})
        Account.update(language="de").where(Account.name == "ada").execute()
        ids = [Account.get(name=name).id for name in ("ada", "alan")]
        outgoing_mail.enqueue_mail(ids, "x", "The lease of m-1 ends at 11:42 CET", "The lease of m-1 has ended.", "/")
    found = dict(database.rows("SELECT account_id, subject || ' ' || text FROM outgoing_mail"))
    assert found == {
        ids[0]: "Die Leihfrist von m-1 endet um 11:42 CET Die Leihfrist von m-1 ist abgelaufen.",
        ids[1]: "The lease of m-1 ends at 11:42 CET The lease of m-1 has ended.",
    }


def test_scripts_speak_the_language_of_the_page(ada: Browser) -> None:
    assert "data-texts" not in ada.get("/").text
    assert "Diese Seite ist live" in ada.get("/", **{"Accept-Language": "de"}).get_data(as_text=True)
    for script in (texts.ROOT / "webui/static/js").glob("*.js"):
        assert not re.findall(r"(?:textContent|title) = '[A-Z]", Path(script).read_text()), script.name
