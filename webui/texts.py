"""All texts that people read, as the sources have them, and the files of translations after them: `make translations`.

Templates are read by `template_texts`, scripts for what they hand to `inLanguage('...')`, Python for whatever looks like a text: sentences anywhere, and single
words where they are handed to something of NAMED. An f-string is one text with places; `{'on' if on else 'off'}` in it makes two texts.
"""

import ast
import re
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from typing import Any

import yaml
from babel.messages.catalog import Catalog
from babel.messages.pofile import read_po, write_po
from jinja2 import Environment, nodes
from pydantic import BaseModel
from pydantic_core import PydanticKnownError
from pydantic_core.core_schema import ErrorType

from appliance import language
from appliance.scenario.schema import ClassSpec
from appliance.workflow.kinds import CORE, DISKS, MACHINES, OTHERS, PEOPLE
from appliance.workflow.sequence import Activity
from webui import schema_form
from webui.guide.texts import GUIDES
from webui.language import PATTERNS, script_texts
from webui.template_texts import Say, Texts, looks_like_text

ROOT = Path(__file__).parents[1]
# What speaks English to programs, to whoever operates it from a shell, or before there is anybody whose language is known.
ENGLISH = [
    "appliance/client",
    "appliance/console",
    "appliance/supervisor.py",
    "appliance/services/metrics.py",
    "appliance/language",
    "appliance/catalog/document.py",
    "appliance/scenario/document.py",
    "appliance/workflow/document.py",
    "appliance/run.py",
    "appliance/workflow/master.py",
    "webui/api/__",
    "webui/api/a",
    "webui/api/d",
    "webui/api/h",
    "webui/api/m",
    "webui/api/r",
    "webui/api/s",
    "webui/api/w",
    "webui/metrics.py",
    "webui/dashboard.py",
    "webui/texts.py",
    "webui/template_texts.py",
    "webui/gunicorn.conf.py",
]
# Whose arguments are read, if they are a single word.
NAMED = frozenset(
    [
        "say",
        "Verb",
        "Page",
        "Place",
        "Group",
        "Column",
        "Filter",
        "Field",
        "Kind",
        "Role",
        "Editable",
        "Action",
        "Chart",
        "Line",
        "Need",
        "Finding",
        "Choice",
        "flash",
        "Area",
        "Move",
        "Whole",
        "Section",
        "Preset",
        "_life",
        "_lease",
        "_pools",
        "_whole",
        "_class",
        "_setting_of",
        "record",
        "OneOf",
        "Reference",
        "Worded",
    ]
)
SPEAKING = (
    "webui/",
    "appliance/host/system/hardware",
    "appliance/services/",
    "appliance/lifecycle/",
    "appliance/scenario/",
    "appliance/catalog/",
    "appliance/identity/",
    "appliance/yamlfile.py",
    "appliance/laps.py",
    "appliance/workflow/",
    "appliance/engine/",
    "appliance/pools/planner.py",
    "appliance/hypervisor/libvirt/snapshot_files.py",
    "appliance/host/system/network.py",
    "appliance/host/system/processes.py",
)
PHRASES = (
    "Filter",
    "Need",
    "return",
    "CONSTANT",
    "OneOf",
    "Worded",
    "Finding",
    "Wrong",
    "wrong",
    "ValueError",
    "FileError",
    "Misfit",
    "Lap",
    "_machines",
    "setdefault",
    "back",
)
OF_PYDANTIC: dict[ErrorType, dict[str, Any] | None] = {  # what forms, classes, rules and options are told in its own words
    **dict.fromkeys(
        ("bool_parsing", "bool_type", "int_parsing", "int_type", "int_from_float", "float_parsing", "float_type", "string_type")
    ),
    **dict.fromkeys(("dict_type", "list_type", "missing", "extra_forbidden", "timezone_aware", "finite_number", "bytes_type")),
    "string_too_short": {"min_length": 0},
    "string_too_long": {"max_length": 0},
    "string_pattern_mismatch": {"pattern": ""},
    "greater_than": {"gt": 0},
    "greater_than_equal": {"ge": 0},
    "less_than": {"lt": 0},
    "less_than_equal": {"le": 0},
    "literal_error": {"expected": ""},
    "enum": {"expected": ""},
    "datetime_from_date_parsing": {"error": ""},
}
WORDS = ("webui/format.py", "appliance/identity/roles.py")  # whose words of states are texts, capital letter or not
_NO_TEXT = frozenset(
    [
        "execute",
        "rows",
        "one",
        "value",
        "compile",
        "match",
        "search",
        "sub",
        "get",
        "getenv",
        "environ",
        "Metric",
        "print",
        "add_argument",
        "TypeVar",
        "debug",
        "setattr",
    ]
)
_NO_SENTENCE = re.compile(  # SQL, and what apt and others are told
    r"julianday|<>|\b(min|max|count)\(|\(id\) AS|default-src|ssh-keygen|systemctl|\[ ! |\b(CREATE [A-Z]+|GROUP BY|IS NULL|AND [a-z_.]+ IN|SELECT|INSERT|UPDATE|DELETE FROM|WHERE|VALUES|IS NOT NULL|ORDER BY|JOIN|PRAGMA|EXISTS|FROM [a-z]|IN \()\b| = \?|^(Dir|APT|Acquire)::|\S\|\S|^# "
)


@dataclass
class Found:
    """Texts, each with the files that have it; plurals as (one, many); templates as they are with `say`."""

    texts: dict[str, set[str]] = field(default_factory=dict)
    plurals: dict[tuple[str, str], set[str]] = field(default_factory=dict)
    templates: dict[Path, nodes.Template] = field(default_factory=dict)

    def add(self, text: str, file: Path) -> None:
        if text:
            self.texts.setdefault(text, set()).add(str(file.relative_to(ROOT)))

    def add_plural(self, one: str, many: str, file: Path) -> None:
        self.plurals.setdefault((one, many), set()).add(str(file.relative_to(ROOT)))


def found(say: Say = lambda _: None) -> Found:
    """All texts of the sources; `say` puts those of templates into a language."""
    found = Found()
    for file in sorted([*(ROOT / "webui/templates").rglob("*.html"), *(ROOT / "webui/rescue/templates").rglob("*.html")]):
        _of_template(found, file, say)
    for file in sorted([*(ROOT / "webui").rglob("*.py"), *(ROOT / "appliance").rglob("*.py")]):
        if not str(file.relative_to(ROOT)).startswith(tuple(ENGLISH)):
            _of_python(found, file)
    for file in sorted((ROOT / "playbooks/workflows").glob("*.yml")):
        _of_yaml(found, file)
    for file in sorted((ROOT / "playbooks/applications").glob("*/application.yml")):
        _of_yaml(found, file)
    models: list[type[BaseModel]] = [ClassSpec, Activity, *(kind.options for kind in (*CORE, *DISKS, *PEOPLE, *MACHINES, *OTHERS))]
    for model in models:
        for label in _labels(schema_form.fields_of(model.model_json_schema())):
            found.add(label, ROOT / "webui/schema_form.py")
    for name, guide in GUIDES.items():
        for text in guide.texts:
            found.add(text, ROOT / f"webui/guide/{name}.md")
    for text in (one for said in script_texts().values() for one in said):
        found.add(text, ROOT / "webui/static/js")
    for text in (
        words for one, context in OF_PYDANTIC.items() for words in _of_pydantic(PydanticKnownError(one, context).message_template)
    ):
        found.add(text, ROOT / "webui/forms.py")
    for text in PATTERNS.values():
        found.add(text, ROOT / "webui/language.py")
    return found


def _of_pydantic(message: str) -> Iterator[str]:
    """What pydantic says, of one and of several."""
    yield re.sub(r"\{(\w+)\}", r"%(\1)s", message.replace("{expected_plural}", ""))
    if "{expected_plural}" in message:
        yield re.sub(r"\{(\w+)\}", r"%(\1)s", message.replace("{expected_plural}", "s"))


def _labels(fields: Iterable[schema_form.Field]) -> Iterator[str]:
    for one in fields:
        yield one.label
        yield from _labels(one.fields)


def _of_template(found: Found, file: Path, say: Say) -> None:
    def heard(text: str) -> str | None:
        found.add(text, file)
        return say(text)

    texts = Texts(heard, lambda one, many: found.add_plural(one, many, file))
    parsed = Environment(trim_blocks=True, lstrip_blocks=True, autoescape=True).parse(file.read_text())
    found.templates[file] = texts.translate(parsed)


def _of_yaml(found: Found, file: Path) -> None:
    """What the master workflow and the shipped sequences say."""

    def go(value: Any) -> None:
        if isinstance(value, dict):
            for key, one in value.items():
                if key in ("title", "about", "description", "brings", "renew", "doing", "summary") and isinstance(one, str):
                    found.add(" ".join(one.split()), file)
                else:
                    go(one)
        elif isinstance(value, list):
            for one in value:
                go(one)

    go(yaml.safe_load(file.read_text()))


def _of_python(found: Found, file: Path) -> None:
    tree = ast.parse(file.read_text())
    visitor = _Python(found, file, anything=str(file.relative_to(ROOT)) in WORDS)
    visitor.bound = _bound(tree, {})
    visitor.visit(tree)


class _Python(ast.NodeVisitor):
    """The texts of a module."""

    def __init__(self, found: Found, file: Path, *, anything: bool) -> None:
        self.found, self.file, self.anything = found, file, anything
        self.speaks = str(file.relative_to(ROOT)).startswith(SPEAKING)
        self.call = ""
        self.bound: Bound = {}

    def visit_Module(self, node: ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) -> None:
        for number, inner in enumerate(node.body):
            if number or not (isinstance(inner, ast.Expr) and isinstance(inner.value, ast.Constant)):
                self.visit(inner)
        for decorator in getattr(node, "decorator_list", ()):
            self.visit(decorator)

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        self.visit_Module(node)

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        before, self.bound = self.bound, _bound(node, self.bound)
        self.visit_Module(node)
        self.visit(node.args)
        self.bound = before

    def visit_Compare(self, node: ast.Compare) -> None:
        pass

    def visit_Expr(self, node: ast.Expr) -> None:
        if not isinstance(node.value, ast.Constant):  # what stands by itself is for who reads the source
            self.visit(node.value)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        if isinstance(node.annotation, ast.Subscript):  # what pydantic is told in Annotated[...]
            self.visit(node.annotation.slice)
        if node.value:
            self.visit_Assign(ast.Assign([node.target], node.value))

    def visit_Return(self, node: ast.Return) -> None:
        before, self.call = self.call, "return"
        self.generic_visit(node)
        self.call = before

    def visit_Assert(self, node: ast.Assert) -> None:
        pass

    def visit_Raise(self, node: ast.Raise) -> None:
        called = node.exc.func if isinstance(node.exc, ast.Call) else None
        if not (isinstance(called, ast.Name) and called.id in ("AssertionError", "RuntimeError", "TypeError", "KeyError")):
            self.generic_visit(node)

    def visit_Assign(self, node: ast.Assign) -> None:
        target = node.targets[0]
        before = self.call
        if isinstance(target, ast.Name) and target.id.isupper():
            self.call = "=" if self.anything else "CONSTANT" if self.speaks else self.call
        self.visit(node.value)
        self.call = before

    def visit_Tuple(self, node: ast.Tuple) -> None:
        for inner in node.elts[:1] if self.call == "=" else node.elts:  # the word, without its colour
            self.visit(inner)

    def visit_Dict(self, node: ast.Dict) -> None:
        for key, value in zip(node.keys, node.values, strict=True):
            if self.call == "CONSTANT" and isinstance(key, ast.Constant) and " " in str(key.value):
                self.visit(key)  # a heading
            before = self.call
            self.call = "text" if before == "Field" and isinstance(key, ast.Constant) and key.value == "unit" else before
            self.visit(value)
            self.call = before

    def visit_Subscript(self, node: ast.Subscript) -> None:
        self.visit(node.value)
        if isinstance(node.value, ast.Name) and node.value.id == "Annotated":
            self.visit(node.slice)

    def visit_Call(self, node: ast.Call) -> None:
        name = node.func.attr if isinstance(node.func, ast.Attribute) else node.func.id if isinstance(node.func, ast.Name) else ""
        if (
            name in _NO_TEXT
            or (name == "Verb" and "appliance/host" in str(self.file))
            or (isinstance(node.func, ast.Attribute) and isinstance(node.func.value, ast.Constant))
        ):
            return
        if name == "plural":
            words = [one.value for one in node.args[1:] if isinstance(one, ast.Constant) and isinstance(one.value, str)]
            if words:
                self.found.add_plural(words[0], words[1] if len(words) > 1 else f"{words[0]}s", self.file)
            return
        if name == "List":
            said = {one.arg: one.value.value for one in node.keywords if isinstance(one.value, ast.Constant)}
            if isinstance(noun := said.get("noun"), str):
                self.found.add_plural(noun, str(said.get("nouns") or f"{noun}s"), self.file)
        before, self.call = self.call, name
        for number, one in enumerate(node.args):
            self.call = (
                "text" if name in ("Editable", "_life", "_lease", "_pools") and number > 1 else name
            )  # heading, label and unit of a field
            self.visit(one)
        self.call = name
        for keyword in node.keywords:
            self.call = "text" if keyword.arg in ("unit", "reclaim_reason") else name
            if keyword.arg not in ("pattern", "alias", "words", "name"):
                self.visit(keyword.value)
        self.call = before

    def visit_Constant(self, node: ast.Constant) -> None:
        if isinstance(node.value, str):
            self._text(node.value)

    def visit_Name(self, node: ast.Name) -> None:
        """What is called so, where it is handed to what says it."""
        if node.id in self.bound and self.call in (*PHRASES, "record"):
            words = self.bound.pop(node.id)
            for one in words:
                self.visit(one)
            self.bound[node.id] = words

    def visit_BinOp(self, node: ast.BinOp) -> None:
        self.generic_visit(node)

    def visit_JoinedStr(self, node: ast.JoinedStr) -> None:
        for one in _alternatives(node, self.bound):
            self._text(one)
        for part in node.values:
            if isinstance(part, ast.FormattedValue) and isinstance(part.value, ast.Call):
                self.visit(part.value)

    def _text(self, text: str) -> None:
        text = re.sub(r"\{(\w+)\}", r"%(\1)s", text)  # what str.format fills
        if self.call == "text" or (self.call == "=" and re.match(r"[a-z][a-z ,':]+$", text)) or (self.call == "report" and text.isalpha()):
            self.found.add(text, self.file)
            return
        for line in text.split("\n"):
            line = line.strip()
            plain = language.PLACE.sub("x", line)
            sentence = looks_like_text(plain) and " " in plain and not _NO_SENTENCE.search(line)
            said = self.call == "PydanticCustomError" and " " in plain
            phrase = (self.call in ("say", "report", "note_step") or (self.speaks and self.call in PHRASES)) and re.fullmatch(
                r"[a-z%][^_/=<>]* [^_/=<>]*[a-z]{2}[^_/=<>]*|(write|group) x", plain
            )
            named = self.call in (*NAMED, "CONSTANT") and looks_like_text(plain)
            if (sentence or said or named or phrase) and not _NO_SENTENCE.search(line):
                self.found.add(line, self.file)


Bound = dict[str, list[ast.expr]]


def _bound(scope: ast.FunctionDef | ast.Module, outer: Bound) -> Bound:
    """What a function or a module calls its words: names that it gives nothing but texts, as in `word = "gave back" if own else "took back"`, and
    tables of them."""
    given: Bound = {}
    stored: list[str] = []
    for one in ast.walk(scope) if isinstance(scope, ast.FunctionDef) else ast.iter_child_nodes(scope):
        targets = one.targets if isinstance(one, ast.Assign) else [one.target] if isinstance(one, ast.AnnAssign) else []
        if isinstance(one, ast.Assign | ast.AnnAssign) and isinstance(targets[0], ast.Name) and one.value:
            table = isinstance(scope, ast.Module) and isinstance(one.value, ast.Dict)
            given.setdefault(targets[0].id, []).extend(one.value.values if table and isinstance(one.value, ast.Dict) else [one.value])
            stored += [targets[0].id] * (len(one.value.values) if table and isinstance(one.value, ast.Dict) else 1)
        elif isinstance(one, ast.arg):
            given[one.arg] = []
    if isinstance(scope, ast.FunctionDef):
        stored = [one.id for one in ast.walk(scope) if isinstance(one, ast.Name) and isinstance(one.ctx, ast.Store)]
    found: Bound = {name: all for name, all in outer.items() if name not in given and name not in stored}
    for name, all in given.items():
        if all and len(all) == stored.count(name) and _are_words(all, found):
            found[name] = all
    return found


def _are_words(given: Iterable[ast.expr], bound: Bound) -> bool:
    return all(
        _are_words([one.body, one.orelse], bound)
        if isinstance(one, ast.IfExp)
        else isinstance(one, ast.JoinedStr)
        or (isinstance(one, ast.Constant) and isinstance(one.value, str))
        or (isinstance(one, ast.Name) and one.id in bound)
        or (isinstance(one, ast.Subscript) and isinstance(one.value, ast.Name) and one.value.id in bound)
        for one in given
    )


def _alternatives(node: ast.JoinedStr, bound: Bound, places: dict[str, int] | None = None) -> Iterator[str]:
    """The texts that an f-string may become, with its places; words that were put together before are said out."""
    parts: list[list[str]] = []
    places = {} if places is None else places
    for part in node.values:
        if isinstance(part, ast.Constant):
            parts.append([str(part.value)])
        elif isinstance(part, ast.FormattedValue):
            parts.append(_values(part.value, places, bound))
    for combination in list(product(*parts))[:16]:
        yield "".join(combination)


def _one_of(nodes: Iterable[ast.expr], places: dict[str, int], bound: Bound) -> list[str]:
    """What either may be; each has its places after those before."""
    before, found = dict(places), []
    for one in nodes:
        mine = dict(before)
        found += _values(one, mine, bound)
        places.update({name: max(number, places.get(name, 0)) for name, number in mine.items()})
    return found


def _values(node: ast.expr, places: dict[str, int], bound: Bound) -> list[str]:
    match node:
        case ast.IfExp(body=one, orelse=other):
            return _one_of([one, other], places, bound)
        case ast.Constant(value=str() as text):
            return [text]
        case ast.JoinedStr():
            return list(_alternatives(node, bound, places))
        case ast.Name(id=name) | ast.Subscript(value=ast.Name(id=name)) if name in bound:
            return _one_of(bound[name], places, {other: given for other, given in bound.items() if other != name})
    name = _name(node)
    places[name] = places.get(name, 0) + 1
    return [f"%({name}{places[name] if places[name] > 1 else ''})s"]


def _name(node: ast.expr) -> str:
    match node:
        case ast.Attribute(attr=name) | ast.Name(id=name):
            return name.strip("_").lower() if name.isupper() else name.strip("_")
        case ast.Call(func=ast.Name(id="plural"), args=[_, ast.Constant(value=str() as noun), *_]):
            return re.sub(r"\W+", "_", noun)
        case ast.Call(func=ast.Attribute(attr="join"), args=[inner]):
            return _name(inner)
        case ast.Call(func=ast.Name(id="len" | "str" | "int" | "repr" | "sorted"), args=[inner, *_]):
            return _name(inner)
        case ast.Call(func=inner) | ast.Subscript(value=inner) | ast.BinOp(left=inner) | ast.BoolOp(values=[inner, *_]):
            return _name(inner)
        case ast.GeneratorExp(elt=inner) | ast.ListComp(elt=inner):
            return _name(inner)
    return "value"


def updated(name: str, sources: Found) -> Catalog:
    """The translations of a language, with the texts that the sources have today, and no others."""
    with language.file(name).open("rb") as opened:
        before = read_po(opened, locale=name)
    today = Catalog(locale=name, project="dpe-appliance", fuzzy=False)
    for text, files in sources.texts.items():
        kept = before.get(text)
        today.add(text, kept.string if kept and not kept.fuzzy else "", [(one, 0) for one in sorted(files)])
    for plural, files in sources.plurals.items():
        kept = before.get(plural)
        said = (
            kept.string if kept and kept.pluralizable and not kept.fuzzy else ("", "")
        )  # a word alone may have become a noun that is counted
        today.add(plural, said, [(one, 0) for one in sorted(files)])
    return today


def untranslated(name: str, sources: Found) -> list[str]:
    """The texts that a language has not."""
    with language.file(name).open("rb") as opened:
        known = read_po(opened, locale=name)
    texts = [text for text in sources.texts if not ((one := known.get(text)) and one.string and not one.fuzzy)]
    return texts + [one for one, many in sources.plurals if not ((said := known.get((one, many))) and all(said.string or ()))]


def main() -> int:
    """Bring the files of all languages up to date, and say what has no translation yet."""
    missing, sources = 0, found()
    for name in language.LANGUAGES:
        if name == language.SOURCE:
            continue
        today = updated(name, sources)
        with language.file(name).open("wb") as opened:
            write_po(opened, today, width=0, sort_by_file=False, sort_output=True, omit_header=False, include_lineno=False)
        for text in untranslated(name, sources):
            print(f"{name}: {text}")
            missing += 1
    return 1 if missing else 0


if __name__ == "__main__":
    sys.exit(main())
