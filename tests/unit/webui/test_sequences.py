"""The pages of sequences: everything works by plain POSTs, and nothing entered is lost."""

import html
import io
import re
from collections.abc import Callable

import pytest
from werkzeug.datastructures import MultiDict

from appliance import catalog
from appliance.catalog import Actor, Grant, Request, Run, RunState, SequenceVersion
from appliance.catalog import sequences as rows
from appliance.services import sequences
from tests import sequences as world
from tests.pages import is_at
from tests.unit.webui.conftest import Browser
from webui import schema_form

pytestmark = pytest.mark.workflow

HERE = "/admin/workflow/sequences"


@pytest.fixture
def office(people: dict[str, Actor]) -> str:
    world.fill(people["grace"])
    return f"{HERE}/office"


def seen(page: str) -> str:
    found = re.search(r'name="seen" value="(\w+)"', page)
    assert found
    return found[1]


def names(move: str, part: str) -> list[str]:
    return [activity["name"] for activity in sequences.view_sequence("office").moves.get(move, {}).get(part, [])]


def test_the_list_says_who_follows_which_and_what_is_new(grace: Browser, office: str) -> None:
    page = grace.get(f"{HERE}/").text
    assert "Office" in page
    assert "Night shift" in page
    assert "not promoted yet" in page
    assert page.count(">draft<") == 2
    assert "/admin/classes/notebook" in page


def test_the_page_shows_what_is_locked_what_is_new_and_what_is_gone(grace: Browser, office: str) -> None:
    page = grace.get(office).text
    assert "Hand it over" in page  # a step of the move itself
    assert "A manager says yes" in page
    assert "more than 2048" in page
    assert "class studio" in page
    assert ">new<" in page
    assert "Put back" in page
    assert "Discard the draft" in page


@pytest.mark.parametrize("kind", ["approval", "task", "wait"])
def test_a_form_is_made_for_each_kind_and_what_is_missing_is_marked(grace: Browser, office: str, kind: str) -> None:
    page = grace.get(f"{office}/activity?move=stop&part=after&number=-1&kind={kind}").text
    known = sequences.kind(kind)
    assert known is not None
    for name, field in known.options.model_fields.items():
        assert f'name="with.{name}"' in page
        assert html.escape(field.description or "", quote=False).replace("'", "&#39;") in page
    form = {"seen": seen(page), "move": "stop", "part": "after", "number": "-1", "kind": kind, "new": "yes", "name": "BAD"}
    answer = grace.post(f"{office}/activity", form)
    assert answer.status_code == 400
    assert "Name cannot be &#39;BAD&#39;" in answer.text
    assert 'value="BAD"' in answer.text  # nothing entered is lost
    assert names("stop", "after") == []


def test_an_activity_is_added_changed_moved_removed_and_put_back(grace: Browser, office: str) -> None:
    page = grace.get(f"{office}/activity?move=assign&part=before&number=-1&kind=wait").text
    form = {"seen": seen(page), "move": "assign", "part": "before", "number": "-1", "kind": "wait", "new": "yes", "name": "breathe"}
    checked = grace.post(f"{office}/activity/check", {**form, "with.time": "soon", "when.memory.above": "many"}).text
    assert "Time cannot be" in checked
    assert 'value="soon"' in checked
    assert 'value="many"' in checked
    answer = grace.post(f"{office}/activity", {**form, "with.time": "10s", "when.memory.above": "1024", "retry.tries": "2"})
    assert (answer.status_code, answer.location) == (303, f"{office}#step-breathe")
    assert names("assign", "before") == ["manager", "breathe"]
    added = sequences.view_sequence("office").moves["assign"]["before"][1]
    assert added == {"name": "breathe", "kind": "wait", "with": {"time": "10s"}, "when": {"memory": {"above": 1024}}, "retry": {"tries": 2}}

    place = {"move": "assign", "part": "before", "number": "1"}
    page = grace.get(f"{office}/activity?move=assign&part=before&number=1").text
    assert 'value="10s"' in page
    assert 'value="1024"' in page
    grace.post(f"{office}/activity", {**place, "seen": seen(page), "kind": "wait", "name": "breathe", "with.time": "20s"})
    assert sequences.view_sequence("office").moves["assign"]["before"][1] == {"name": "breathe", "kind": "wait", "with": {"time": "20s"}}

    to = {"to_move": "assign", "to_part": "before", "to_number": "0"}
    grace.post(f"{office}/shift", {**place, **to, "seen": seen(grace.get(office).text)})
    assert names("assign", "before") == ["breathe", "manager"]
    answer = grace.post(f"{office}/remove", {**place, "number": "0", "seen": seen(grace.get(office).text)})
    assert names("assign", "before") == ["manager"]
    assert "Wait is removed." in answer.text
    kept = re.search(r'id="undo".*?name="activity" value="([^"]*)"', answer.text, re.DOTALL)
    assert kept
    grace.post(f"{office}/put-back", {**place, "number": "0", "seen": seen(answer.text), "activity": html.unescape(kept[1])})
    assert names("assign", "before") == ["breathe", "manager"]


def test_a_save_over_somebody_elses_is_refused_with_what_changed_and_loses_nothing(
    grace: Browser, office: str, people: dict[str, Actor]
) -> None:
    page = grace.get(f"{office}/activity?move=assign&part=before&number=0").text
    other = sequences.view_sequence("office")
    sequences.put_sequence(
        people["mary"],
        "office",
        other.stamp,
        sequences.Spot("start", "after", -1),
        {"name": "x", "kind": "wait", "with": {"time": "1s"}},
        new=True,
    )
    form = {
        "seen": seen(page),
        "move": "assign",
        "part": "before",
        "number": "0",
        "kind": "approval",
        "name": "manager",
        "title": "My own words",
    }
    answer = grace.post(f"{office}/activity", form)
    assert answer.status_code == 409
    assert "mary: Wait: added after start" in answer.text
    assert "My own words" in answer.text
    assert "My own words" not in sequences.export("office")


def test_a_draft_is_tried_and_then_promoted_without_being_asked(grace: Browser, office: str, people: dict[str, Actor]) -> None:
    assert "Although it was not tried" in grace.get(office).text
    refused = grace.post(f"{office}/promote", {"comment": "new", "seen": seen(grace.get(office).text)})
    assert refused.status_code == 409
    assert "was not tried yet" in refused.text
    assert grace.post(f"{office}/try", {"class": "studio"}).status_code == 303
    tried = SequenceVersion.get(SequenceVersion.state == "trial")
    asked = Request.get(Request.trial == tried.id)
    [run] = Run.select().where(Run.request == asked.id)
    assert run.version_id == tried.id
    assert "It is being tried." in grace.get(office).text
    with catalog.write():
        Run.update(state=RunState.DONE).where(Run.id == run.id).execute()
    assert "It was tried, and did well." in grace.get(office).text
    answer = grace.post(f"{office}/promote", {"comment": "Waits before it stops", "seen": seen(grace.get(office).text)})
    assert answer.status_code == 303
    promoted = rows.promoted("office")
    assert promoted is not None
    assert promoted.comment == "Waits before it stops"
    assert rows.draft("office") is None


@pytest.mark.badinput
def test_what_is_refused_of_a_draft_is_told_in_its_form_and_keeps_what_was_typed(grace: Browser, office: str) -> None:
    sent = {"comment": "A pause", "seen": seen(grace.get(office).text)}
    refused = grace.post(f"{office}/promote", sent).text
    assert is_at("untried", refused)
    assert 'value="A pause"' in refused
    refused = grace.post(f"{office}/promote", sent | {"comment": "A pause" * 40, "untried": "yes"}).text
    assert is_at("comment", refused)
    assert "A pause" * 40 in refused
    assert " checked" in refused.split('id="f-untried"')[1].split(">")[0]
    refused = grace.post(f"{office}/try", {"class": "nothing"})
    assert refused.status_code == 404
    assert is_at("class", refused.text)
    refused = grace.post(f"{office}/roll-back", {"version": "first"})
    assert refused.status_code == 400
    assert "Version: &#39;first&#39; is not a number." in refused.text
    assert rows.draft("office") is not None


def test_what_no_form_on_the_page_can_tell_stands_above_it(grace: Browser, office: str) -> None:
    stamp = seen(grace.get(office).text)
    grace.post(f"{office}/discard")
    assert "office has no draft." in grace.post(f"{office}/promote", {"seen": stamp}).text
    assert "is what machines of" in grace.post(f"{office}/delete").text


def test_history_shows_what_differs_and_goes_back(grace: Browser, office: str) -> None:
    grace.post(f"{office}/promote", {"untried": "yes", "comment": "", "seen": seen(grace.get(office).text)})
    page = grace.get(f"{office}/history?from=1&to=2").text
    assert "A last chance" in page
    assert "removed" in page
    assert "added" in page
    assert grace.post(f"{office}/roll-back", {"version": "1"}).status_code == 303
    promoted = rows.promoted("office")
    assert promoted is not None
    assert (promoted.number, promoted.body) == (3, world.body(world.OFFICE))


def test_a_file_goes_out_and_comes_in_with_lines_of_errors(grace: Browser, office: str) -> None:
    text = grace.get(f"{office}/export").text
    bad = text.replace("kind: approval", "kind: oracle")
    page = grace.get(f"{office}/file").text
    answer = grace.post(f"{office}/file", {"text": bad, "seen": seen(page)})
    assert answer.status_code == 400
    line = bad[: bad.index("oracle")].count("\n") + 1
    assert f"line {line}</span> there is no kind of activity &#39;oracle&#39;" in answer.text
    assert "kind: oracle" in answer.text
    assert is_at("text", answer.text)
    good = text.replace("30s", "45s")
    assert grace.post(f"{office}/file", {"text": good, "seen": seen(page)}).status_code == 303
    assert sequences.view_sequence("office").moves["stop"]["before"][0]["with"] == {"time": "45s"}
    assert grace.post(f"{HERE}/import", {"text": text.replace("name: office", "name: other", 1)}).location == f"{HERE}/other"
    assert grace.get(f"{HERE}/other/export").text == text.replace("name: office", "name: other", 1)
    file = (io.BytesIO(text.replace("name: office", "name: third", 1).encode()), "third.yml")
    assert grace.post(f"{HERE}/import", {"file": file, "text": "what it was before"}).location == f"{HERE}/third"
    wrong = io.BytesIO(b"name: office\ntitel: Paint\n")
    answer = grace.post(f"{office}/file", {"file": (wrong, "office.yml"), "text": text, "seen": seen(page)})
    assert is_at("text", answer.text)
    assert "titel: Paint" in answer.text.split("<textarea")[1]
    assert is_at("text", grace.post(f"{office}/file", {"text": text.replace("name: office", "name: other", 1), "seen": seen(page)}).text)


def test_whoever_may_only_look_sees_all_and_changes_nothing(
    signed_in: Callable[[str], Browser], office: str, people: dict[str, Actor]
) -> None:
    with catalog.write():
        Grant.create(role="class_manager", account=people["mary"].account_id)
    mary = signed_in("mary")
    for path in ("", "/history", "/file"):
        page = mary.get(office + path)
        assert page.status_code == 200
        assert 'method="post" action="/admin' not in page.text
    assert mary.post(f"{office}/discard").status_code == 403


def test_a_place_that_is_none_is_not_found(grace: Browser, office: str) -> None:
    for query in (
        "move=x&part=before&number=0",
        "move=fail&part=before&number=0",
        "move=stop&part=in&number=0",
        "move=assign&part=before&number=9",
    ):
        assert grace.get(f"{office}/activity?{query}").status_code == 404
    for body in ({}, {"move": "stop", "part": "before", "number": "7", "seen": sequences.view_sequence("office").stamp}):
        assert grace.post(f"{office}/remove", body).status_code == 404
    for activity in ("", "[]", "{}", '{"name": ["a"], "kind": "wait"}'):
        assert grace.post(f"{office}/put-back", {"move": "stop", "part": "before", "number": "0", "activity": activity}).status_code == 400
    far = {"move": "stop", "part": "before", "number": "0", "to_move": "stop", "to_part": "after", "to_number": "9" * 40}
    assert grace.post(f"{office}/shift", {**far, "seen": sequences.view_sequence("office").stamp}).status_code == 303
    assert names("stop", "after") == ["pause"]


def test_a_kind_that_is_missing_is_said_on_the_list_and_at_its_activity(
    grace: Browser, office: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sequences, "missing", lambda: {"bells": "ImportError: no module named bells"})
    assert "no module named bells" in grace.get(f"{HERE}/").text
    moves = {"stop": {"before": [{"name": "ring", "kind": "bells"}]}}
    sequences.save_draft(Actor("grace", 1), "office", moves, sequences.view_sequence("office").stamp)
    page = grace.get(office).text
    assert "there is no kind of activity &#39;bells&#39;" in page
    assert "Remove ring" in page
    shown = grace.get(f"{office}/activity?move=stop&part=before&number=0")
    assert shown.status_code == 200
    assert "no module named bells" in shown.text


# -- forms from schemas ---------------------------------------------------------------------------

SCHEMA = {
    "required": ["text"],
    "properties": {
        "text": {"type": "string", "maxLength": 2000},
        "word": {"type": "string", "default": "yes"},
        "count": {"anyOf": [{"type": "integer", "minimum": 1}, {"type": "null"}], "default": None},
        "on": {"type": "boolean", "default": True},
        "which": {"enum": ["a", "b"], "default": "a", "type": "string"},
        "names": {"type": "array", "items": {"type": "string"}, "default": []},
        "codes": {"type": "array", "items": {"type": "integer"}, "default": [0]},
        "heads": {"type": "object", "additionalProperties": {"type": "string"}, "default": {}},
        "vars": {"type": "object", "additionalProperties": True, "default": {}},
        "inner": {"$ref": "#/$defs/Inner"},
    },
    "$defs": {"Inner": {"type": "object", "properties": {"above": {"type": "integer"}}}},
}


def test_every_type_of_field_goes_round() -> None:
    fields = schema_form.fields_of(SCHEMA)
    assert [field.widget for field in fields] == ["area", "text", "number", "check", "select", "lines", "numbers", "pairs", "yaml", "group"]
    assert schema_form.shown(next(field for field in fields if field.name == "codes"), {}) == "0"
    values = {
        "text": "two\nlines", "word": "no", "count": 3, "on": False, "which": "b", "names": ["x", "y"], "codes": [0, 3], "heads": {"a": "b: c"},
        "vars": {"n": [1, {"k": True}]}, "inner": {"above": 5},
    }  # fmt: skip

    def flat(some: tuple[schema_form.Field, ...]) -> dict[str, str]:
        entered = {}
        for field in some:
            if field.widget == "group":
                entered |= flat(field.fields)
            elif field.widget != "check" or schema_form.shown(field, values):
                entered[field.name] = str(schema_form.shown(field, values))
        return entered

    assert schema_form.read(fields, MultiDict(flat(fields))) == values
    assert schema_form.read(fields, MultiDict({"on": "yes", "which": "a", "word": "yes", "text": "", "codes": "0"})) == {}


def test_what_cannot_be_read_stays_as_it_was_typed() -> None:
    fields = schema_form.fields_of(SCHEMA)
    typed = {"count": "three", "codes": "0, x", "heads": "no colon", "vars": "{unclosed: ", "inner.above": "1.5", "on": "yes"}
    read = schema_form.read(fields, MultiDict(typed))
    assert read == {"count": "three", "codes": [0, "x"], "heads": "no colon", "vars": "{unclosed:", "inner": {"above": "1.5"}}
    assert [schema_form.shown(field, read) for field in fields if field.name in ("count", "heads", "vars")] == [
        "three",
        "no colon",
        "{unclosed:",
    ]
    assert schema_form.read(fields, {"vars": "# nothing", "on": "yes"}) == {"vars": "# nothing"}


@pytest.mark.parametrize("name", ["expires", "escalate"])
def test_a_length_of_time_has_a_field_of_its_own_kind(name: str) -> None:
    kind = sequences.kind("approval")
    assert kind is not None
    fields = {field.name: field.widget for field in schema_form.fields_of(kind.options.model_json_schema())}
    assert fields[name] == "duration"


# -- the API --------------------------------------------------------------------------------------


def test_a_program_reads_changes_and_promotes(grace: Browser, office: str) -> None:
    grace.get(office)
    listed = grace.get("/api/v1/sequences").json
    assert listed is not None
    assert [(one["name"], one["version"], one["draft"]) for one in listed["sequences"]] == [("night", None, True), ("office", 1, True)]
    read = grace.get("/api/v1/sequences/office", Accept="application/yaml")
    changed = read.text.replace("30s", "50s").encode()
    grace.get(office)
    answer = grace.put("/api/v1/sequences/office", changed, **{"If-Match": read.headers["ETag"]})
    assert answer.status_code == 200
    assert answer.json is not None
    assert answer.json["moves"]["stop"]["before"][0]["with"] == {"time": "50s"}
    late = grace.put("/api/v1/sequences/office", read.text.encode(), **{"If-Match": read.headers["ETag"]})
    assert late.status_code == 409
    assert "grace: Wait: changed before stop (time)" in late.text
    assert grace.put("/api/v1/sequences/office", b"name: office\nmoves: 3\n").status_code == 400
    assert grace.put("/api/v1/sequences/office", changed.replace(b"name: office", b"name: other", 1)).status_code == 400
    made = grace.put("/api/v1/sequences/other", changed.replace(b"name: office", b"name: other", 1))
    assert made.status_code == 200
    assert grace.post("/api/v1/sequences/office/promote", {}).status_code == 409
    assert grace.post("/api/v1/sequences/office/promote", {"untried": "yes"}).json == {"version": 2}
