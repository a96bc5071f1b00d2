"""Templates in other languages: what they say is found, and put in another language, when they are compiled.

Templates are written in plain English, with no marks. `Texts` goes through the parsed template in the order of the page, knows by the tags before
whether it stands in a text, in a tag or in an attribute that people read (`ATTRIBUTES`), and asks for each text:

* A text ends at a tag, at a call of a macro, and at `{% ... %}`. Tags of INLINE in the middle of a sentence belong to it, without their attributes:
  `See <a href="{{ url }}">the log</a> of {{ one.name }}.` is `See <a>the log</a> of %(name)s.`; a second `<a>` is `<a2>`.
* `{{ ... }}` in a sentence is `%(name)s`, called by the last name in it.
* Words in expressions are texts where they are shown, and where they look like one (an argument of a macro). `"Delete " ~ name ~ "?"` is one text.
* `{{ number|plural("machine") }}` is a plural.
* What Python says (an error's message, a state's words) is put into the language when it is shown: expressions that end in a name of SAID.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TypeGuard

from jinja2 import nodes
from jinja2.nodes import Expr, Node

from appliance.language import PLACE

ATTRIBUTES = frozenset(
    """
    aria-label title placeholder alt label summary data-label data-confirm data-confirm-title
    data-confirm-button aria-roledescription
    """.split()  # noqa: SIM905
)
INLINE = frozenset("a abbr b code em i kbd q strong time".split())  # noqa: SIM905
AROUND_ONE = frozenset("span small".split())  # noqa: SIM905  # in a sentence where they hold an expression and nothing else
VOID = frozenset("area base br col embed hr img input link meta source track wbr".split())  # noqa: SIM905
RAW = frozenset("pre script style svg".split())  # noqa: SIM905
SAID = frozenset(
    """
    message hint label title about help words text error why problem reason obstacle refusal said note
    unit doing step summary description group button task outcome result effect impact advice remedy
    what detail level_words area caption every placeholder heading origin
    to_title legend labels loses button choose nothing line reclaim_reason limit_reason doubt
    """.split()  # noqa: SIM905
)
TABLES = frozenset(["BY", "ENDS", "KINDS", "WORDS"])  # what templates set that holds texts alone
CALLED = frozenset(["title", "title_of", "over"])  # functions that say something
_LETTERS = re.compile(r"[^\W\d_]{2,}")
_EXAMPLE = re.compile(r"^\S*[@.:=/,]\S+$|XXXX|-----", re.MULTILINE)  # what is typed, and no words
_TAG = re.compile(r"<(/?)([a-zA-Z][\w-]*)")
_EDGE = re.compile(r"^([\s·|–—]*)(.*?)([\s·|–—]*)$", re.DOTALL)
_PART = re.compile(r"(%\(\w+\)s|</?\w+>)")
_ENDS = re.compile(r"[.!?:;…·–|]\s*$")
Say = Callable[[str], str | None]
Piece = str | Expr


@dataclass
class Tag:
    """A whole tag, as it stands there."""

    name: str
    closes: bool
    parts: list[Piece]


@dataclass
class Break:
    """What is no text, and ends one."""

    parts: list[Piece]


@dataclass
class Element:
    """A tag, what is in it, and its end."""

    tag: Tag
    inside: list["Item"] = field(default_factory=list)
    end: Tag | None = None


Item = str | Expr | Tag | Break | Element


class Texts:
    """Goes through a template. `say` gives a text in another language, or None to leave it; `plural` is told of nouns."""

    def __init__(self, say: Say, plural: Callable[[str, str], None] = lambda *_: None) -> None:
        self.say = say
        self.plural = plural
        self.tag: list[Piece] | None = None  # the tag that is open
        self.quote = ""
        self.attribute = ""
        self.raw = ""  # the element whose content is no text
        self.unit = nodes.Const("")

    def translate(self, template: nodes.Template) -> nodes.Template:
        """The template itself, in the other language."""
        self._walk(template)
        return template

    def _walk(self, node: Node) -> None:
        match node:
            case nodes.Output():
                node.nodes = self._output(node)
            case nodes.Macro() | nodes.CallBlock():
                before, self.tag, self.quote, self.raw = (self.tag, self.quote, self.raw), None, "", ""
                self._inner(node)
                self.tag, self.quote, self.raw = before
            case nodes.Assign(target=nodes.Name(name=name), node=nodes.Dict() as words) if name.isupper():
                self._table(words, all_texts=name in TABLES)
            case _:
                self._inner(node)

    def _table(self, words: nodes.Dict, *, all_texts: bool) -> None:
        """The words of states and the like, by a name in capital letters: the first of each tuple, without its colour."""
        for pair in words.items:
            if isinstance(pair.value, nodes.Tuple):
                first, *rest = pair.value.items
                pair.value.items = [self._shown(first), *map(self._argument, rest)]
            else:
                pair.value = self._shown(pair.value) if all_texts else self._argument(pair.value)

    def _inner(self, node: Node) -> None:
        for name, value in list(node.iter_fields()):
            if isinstance(value, list):
                for place, one in enumerate(value):
                    if isinstance(one, nodes.Expr):
                        value[place] = self._argument(one)
                    elif isinstance(one, Node):
                        self._walk(one)
            elif isinstance(value, nodes.Expr):
                if name not in ("test", "template", "target"):
                    setattr(node, name, self._argument(value))
            elif isinstance(value, Node):
                self._walk(value)

    # -- the text of a page ------------------------------------------------------------------------------

    def _output(self, output: nodes.Output) -> list[Expr]:
        items: list[Item] = []
        for node in output.nodes:
            if isinstance(node, nodes.TemplateData):
                self._data(node.data, items)
            elif self.raw:
                items.append(Break([node]))
            elif self.tag is not None:
                self.tag.append(node)
            else:
                items.append(node)
        if self.tag:
            items.append(Break(self._attributes(self.tag)))
            self.tag = []
        return [nodes.TemplateData(one) if isinstance(one, str) else one for one in self._texts(items)]

    def _data(self, data: str, items: list[Item]) -> None:
        at = 0
        while at < len(data):
            if self.raw:
                end = data.lower().find(f"</{self.raw}", at)
                items.append(Break([data[at : end if end >= 0 else len(data)]]))
                if end < 0:
                    return
                at, self.raw = end, ""
            elif self.tag is not None:
                at = self._in_tag(data, at, items)
            elif data.startswith("<!--", at):
                end = data.find("-->", at)
                end = len(data) if end < 0 else end + 3
                items.append(Break([data[at:end]]))
                at = end
            elif data.startswith("<!", at) or _TAG.match(data, at):
                self.tag = []
                self.quote = ""
                at = self._in_tag(data, at, items)
            else:
                found = re.compile(r"<(?=[a-zA-Z/!])").search(data, at + 1)
                end = found.start() if found else len(data)
                items.append(data[at:end])
                at = end

    def _in_tag(self, data: str, at: int, items: list[Item]) -> int:
        assert self.tag is not None
        begin = at
        while at < len(data):
            sign = data[at]
            if self.quote:
                self.quote = "" if sign == self.quote else self.quote
            elif sign in "\"'":
                self.quote = sign
            elif sign == ">":
                self.tag.append(data[begin : at + 1])
                items.append(self._tag(self.tag))
                self.tag = None
                return at + 1
            at += 1
        self.tag.append(data[begin:])
        return at

    def _tag(self, parts: list[Piece]) -> Item:
        found = _TAG.match(parts[0]) if isinstance(parts[0], str) else None
        done = self._attributes(parts)
        if not found:
            return Break(done)
        name, closes = found[2].lower(), bool(found[1])
        if name in RAW and not closes and not str(parts[-1]).endswith("/>"):
            self.raw = name
        return Break(done) if name in VOID else Tag(name, closes, done)

    def _attributes(self, parts: list[Piece]) -> list[Piece]:
        """The parts of a tag, what people read of it in the other language. `attribute` is the one whose value has begun."""
        done: list[Piece] = []
        value: list[Piece] = []
        for part in parts:
            if not isinstance(part, str):
                if self.attribute:
                    value.append(part)
                else:
                    done.append(self._argument(part))
                continue
            while part:
                if self.attribute:
                    inside, quote, part = part.partition('"')
                    value.append(inside)
                    if quote:
                        done += [*self._attribute_value(value), '"']
                        value, self.attribute = [], ""
                else:
                    begun = re.search(r'([\w:-]+)="', part)
                    end = begun.end() if begun else len(part)
                    done.append(part[:end])
                    part, self.attribute = part[end:], begun[1] if begun else ""
        return done + self._attribute_value(value)

    def _attribute_value(self, value: list[Piece]) -> list[Piece]:
        return self._message(list(value)) if self.attribute in ATTRIBUTES else value

    def _texts(self, items: list[Item]) -> list[Piece]:
        return self._run(list(_nested(items)))

    def _run(self, items: list[Item]) -> list[Piece]:
        done: list[Piece] = []
        text: list[Item] = []
        for place, item in enumerate(items):
            if isinstance(item, Element) and self._stands_apart(item, text, items[place + 1 :]):
                assert item.end
                done += [*self._message(text), *item.tag.parts, *self._run(item.inside), *item.end.parts]
                text = []
            elif isinstance(item, Break | Tag):
                done += [*self._message(text), *item.parts]
                text = []
            elif _is_macro(item):
                done += [*self._message(text), self._shown(item)]
                text = []
            else:
                text.append(item)
        return done + self._message(text)

    @staticmethod
    def _stands_apart(element: Element, before: list[Item], after: list[Item]) -> bool:
        """Whether an element is no part of the sentence around it."""
        if any(isinstance(one, Break | Tag | Element) or _is_macro(one) for one in element.inside):
            return True
        only = [one for one in element.inside if not isinstance(one, str) or one.strip()]
        name = element.tag.name
        if name not in INLINE and not (name in AROUND_ONE and len(only) == 1 and isinstance(only[0], Expr)):
            return True
        words_before = "".join(one if isinstance(one, str) else "x" for one in before)
        if words_before.strip() and not _ENDS.search(words_before):
            return False
        rest: list[Item] = []
        for one in after:
            if isinstance(one, Break | Tag) or _is_macro(one):
                break
            rest.append(one)
        inner = "".join(one if isinstance(one, str) else "x" for one in element.inside)
        return not any(not isinstance(one, str) or _LETTERS.search(one) for one in rest) or bool(_ENDS.search(inner))

    def _message(self, items: list[Item]) -> list[Piece]:
        """A run of text, expressions and elements, in the other language."""
        left, right = "", ""
        items = [one for one in items if one != ""]
        if items and isinstance(items[0], str):
            left, items[0] = _split(items[0], 1), _split(items[0], 2) + _split(items[0], 3)
        if items and isinstance(items[-1], str):
            items[-1], right = _split(items[-1], 1) + _split(items[-1], 2), _split(items[-1], 3)
        places: dict[str, list[Piece]] = {}
        english = re.sub(r"\s+", " ", self._english(items, places))
        words = _LETTERS.search(PLACE.sub("", re.sub(r"</?\w+>", "", english)))
        said = self.say(english) if words else None
        if said is None:
            return [left, *(piece for one in items for piece in self._as_it_is(one)), right]
        done: list[Piece] = [left]
        for part in _PART.split(said):
            done += places.get(part, [part])
        return [*done, right]

    def _english(self, items: list[Item], places: dict[str, list[Piece]]) -> str:
        """The text that the items are; expressions in them are put into the other language."""
        text = ""
        for number, one in enumerate(items):
            if isinstance(one, str):
                text += one
            elif isinstance(one, Element):
                assert one.end
                name = _free(one.tag.name, lambda name: f"<{name}>", places)
                places[f"<{name}>"], places[f"</{name}>"] = one.tag.parts, one.end.parts
                text += f"<{name}>{self._english(one.inside, places)}</{name}>"
            elif isinstance(one, Expr):
                place = f"%({_free(_name(one), lambda name: f'%({name})s', places)})s"
                items[number] = shown = self._shown(one)
                places[place] = [shown]
                text += place
        return text

    def _as_it_is(self, item: Item) -> Iterator[Piece]:
        if isinstance(item, Element):
            assert item.end
            yield from item.tag.parts
            yield from (piece for one in item.inside for piece in self._as_it_is(one))
            yield from item.end.parts
        elif isinstance(item, Tag | Break):
            yield from item.parts
        else:
            yield item

    # -- expressions -------------------------------------------------------------------------------------

    def _shown(self, node: Expr) -> Expr:
        """An expression whose value people read."""
        match node:
            case nodes.Const(value=str() as text):
                core = _split(text, 2)
                said = self.say(core) if _LETTERS.search(core) and not _EXAMPLE.search(core) else None
                return node if said is None else nodes.Const(_split(text, 1) + said + _split(text, 3))
            case nodes.CondExpr():
                node.expr1 = self._shown(node.expr1)
                node.expr2 = self._shown(node.expr2) if node.expr2 else None
            case nodes.Or():
                node.left, node.right = self._shown(node.left), self._shown(node.right)
            case nodes.And():
                node.right = self._shown(node.right)
            case nodes.Concat():
                return self._joined(node)
            case nodes.Filter():
                return self._filtered(node)
            case nodes.Call(node=nodes.Getattr(node=nodes.Dict() as words, attr="get")):
                self._values(words)
                node.args = [node.args[0], *map(self._shown, node.args[1:])]
            case nodes.Getitem(node=nodes.Dict() as words):
                self._values(words)
            case _ if _is_said(node):
                return _translated(node)
            case nodes.Call(node=nodes.Getattr(node=moment, attr="strftime")):
                return nodes.Filter(moment, "dated", node.args, [], None, None)
            case nodes.Call():
                return self._argument(node)
        return node

    def _filtered(self, node: nodes.Filter) -> Expr:
        if node.name == "plural":
            words = [one.value for one in node.args if isinstance(one, nodes.Const)]
            if len(words) == len(node.args):
                self.plural(words[0], words[1] if len(words) > 1 else words[0] + "s")
        elif node.name in ("capitalize", "trim", "lower_first", "default", "upper", "code") and node.node is not None:
            node.node = self._shown(node.node)
            node.args = [self._shown(one) for one in node.args]
        elif node.name == "join" and node.args:
            node.args = [self._shown(one) for one in node.args]
        return node

    def _values(self, words: nodes.Dict) -> None:
        for pair in words.items:
            pair.value = self._shown(pair.value)

    def _argument(self, node: Expr) -> Expr:
        """An expression that may hold texts: those are told by their looks."""
        match node:
            case nodes.Const(value=str() as text):
                return self._shown(node) if looks_like_text(text) else node
            case nodes.Concat():
                return self._concatenated(node)
            case nodes.CondExpr():
                node.expr1 = self._argument(node.expr1)
                node.expr2 = self._argument(node.expr2) if node.expr2 else None
            case nodes.Or() | nodes.And():
                node.left, node.right = self._argument(node.left), self._argument(node.right)
            case nodes.List() | nodes.Tuple():
                node.items = [self._argument(one) for one in node.items]
            case nodes.Dict():
                self._pairs(node)
            case nodes.Getattr() | nodes.Call() if _is_said(node):
                return _translated(node)
            case nodes.Call():
                self._call(node)
            case nodes.Filter():
                if node.name == "plural":
                    return self._filtered(node)
                if node.node is not None:
                    node.node = self._argument(node.node)
            case nodes.Getitem(node=nodes.Dict() as words):
                self._argument(words)
        return node

    def _concatenated(self, node: nodes.Concat) -> Expr:
        first = node.nodes[0]
        texts = [one.value for one in node.nodes if isinstance(one, nodes.Const)]
        begins = isinstance(first, nodes.Const) and str(first.value)[:1].isupper() and re.search(r"[a-z ]", str(first.value))
        if begins or any(looks_like_text(str(one).strip()) for one in texts):
            return self._joined(node)
        node.nodes = [self._argument(one) for one in node.nodes]
        return node

    def _pairs(self, node: nodes.Dict) -> None:
        for pair in node.items:
            seen = isinstance(pair.key, nodes.Const) and pair.key.value in ATTRIBUTES
            pair.value = self._shown(pair.value) if seen else self._argument(pair.value)

    def _call(self, node: nodes.Call) -> None:
        if isinstance(node.node, nodes.Name) and node.node.name in ("url_for", "icon"):
            return
        node.args = [self._argument(one) for one in node.args]
        for keyword in node.kwargs:
            keyword.value = self._argument(keyword.value)
        if isinstance(node.node, nodes.Getattr) and isinstance(node.node.node, nodes.Dict):
            self._pairs(node.node.node)

    def _joined(self, node: nodes.Concat) -> Expr:
        """`"Delete " ~ name ~ "?"`, as a text."""
        items: list[Item] = [str(one.value) if isinstance(one, nodes.Const) else one for one in _flat(node)]
        pieces = [nodes.Const(one) if isinstance(one, str) else one for one in self._message(items) if one != ""]
        return nodes.Concat(pieces) if pieces else node


def _is_said(node: Expr) -> bool:
    """Whether it is something that Python says."""
    match node:
        case nodes.Getattr(attr=name) | nodes.Name(name=name) | nodes.Getitem(arg=nodes.Const(value=str() as name)):
            return name in SAID
        case nodes.Call(node=nodes.Getattr(node=nodes.Name(name=name), attr="get")):
            return name in SAID or name.isupper()
        case nodes.Call(node=nodes.Name(name=name)):
            return name in CALLED
        case nodes.Getitem(node=nodes.Getattr(attr=name)):
            return name in SAID
        case nodes.Getitem(node=nodes.Name(name=name)) | nodes.Getitem(node=nodes.Getitem(node=nodes.Name(name=name))):
            return name.isupper() or name == "described"  # the words of states and permissions
    return False


def _translated(node: Expr) -> Expr:
    return nodes.Filter(node, "translated", [], [], None, None)


def _is_macro(item: Item) -> TypeGuard[nodes.Call]:
    """Whether it is a call that puts more than a word there; a time is a word."""
    return isinstance(item, nodes.Call) and not (isinstance(item.node, nodes.Getattr) and item.node.attr == "strftime")


def looks_like_text(text: str) -> bool:
    """Whether people read it: "Delete it", "it is so.", but no "btn btn-primary" and no "GET"."""
    if (
        not re.search(r"[a-z]{2}", text)
        or " | " in text
        or (re.search(r"[a-z][A-Z]|XXX|^%|^input |-----|\\n", text) and " " not in text.strip())
    ):
        return False
    return bool(re.match(r"[“\"(]?[A-Z].*[a-z]", text, re.DOTALL)) or bool(" " in text.strip() and re.search(r"[.!?…]$", text))


def _flat(node: nodes.Concat) -> Iterator[Expr]:
    for one in node.nodes:
        yield from _flat(one) if isinstance(one, nodes.Concat) else (one,)


def _split(text: str, group: int) -> str:
    found = _EDGE.match(text)
    assert found
    return found[group] if _EDGE.match(text) else ""


def _free(name: str, place: Callable[[str], str], taken: dict[str, list[Piece]]) -> str:
    return next(one for one in (f"{name}{'' if n == 1 else n}" for n in range(1, 99)) if place(one) not in taken)


def _name(node: Expr) -> str:
    """What a translator knows an expression by: the last name in it."""
    match node:
        case nodes.Call(node=nodes.Getattr(node=moment, attr="strftime")):
            return _name(moment)
        case nodes.Getattr(attr=name) | nodes.Name(name=name):
            return name.strip("_")
        case nodes.Filter(name="plural", args=[nodes.Const(value=str() as noun), *_]):
            return re.sub(r"\W+", "_", noun)
        case nodes.Filter(name="length", node=inner) if inner is not None:
            return f"count_{_name(inner)}"
        case nodes.Filter(node=inner) | nodes.Call(node=inner) if inner is not None:
            return _name(inner)
        case nodes.Getitem(arg=nodes.Const(value=str() as key)):
            return re.sub(r"\W+", "_", key)
        case nodes.Getitem(node=inner):
            return _name(inner)
        case nodes.CondExpr(expr1=one):
            return _name(one)
        case (
            nodes.Or(left=one)
            | nodes.And(right=one)
            | nodes.Sub(left=one)
            | nodes.Add(left=one)
            | nodes.Mul(left=one)
            | nodes.Div(left=one)
        ):
            return _name(one)
        case nodes.Const(value=str()):
            return "words"
    return "value"


def _nested(items: list[Item]) -> Iterator[Item]:
    """The items, with each tag and its end made one where both are there; what has only one of them stays a tag."""
    stack: list[Element] = []
    done: list[Item] = []

    def add(item: Item) -> None:
        (stack[-1].inside if stack else done).append(item)

    def give_up(element: Element) -> None:
        for one in (element.tag, *element.inside):
            add(one)

    for item in items:
        if not isinstance(item, Tag):
            add(item)
        elif not item.closes:
            stack.append(Element(item))
        elif any(one.tag.name == item.name for one in stack):
            while stack[-1].tag.name != item.name:
                give_up(stack.pop())
            element = stack.pop()
            element.end = item
            add(element)
        else:
            while stack:
                give_up(stack.pop())
            add(item)
    while stack:
        give_up(stack.pop())
    return iter(done)
