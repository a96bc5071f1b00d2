"""What a request sent, by one way: a form, or the JSON of a call, becomes a pydantic model, and what does not fit is told at its field.

A form is a model: a field's title is its label, its description its help. `read` is what was sent as that model, `bound` the same form as a page
shows it, with what was typed and what is wrong with it; `templates/_forms.html` draws it. Nobody else reads `request.form`, which a test keeps so.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, time
from functools import cache
from typing import Annotated, Any, TypeVar

from flask import g, request
from markupsafe import Markup, escape
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    StringConstraints,
    ValidationError,
)
from pydantic.config import JsonDict
from pydantic_core import CoreSchema, PydanticCustomError, core_schema
from werkzeug.datastructures import FileStorage

from appliance.errors import BadInput, DpeError
from webui import language, schema_form

DIGITS = 12  # more than a number that means something has
SECRET: JsonDict = {"widget": "password"}  # of a field that is not shown again
ONE_LINE: JsonDict = {"widget": "text"}  # of one that may be long, or holds several words, and is no box of several lines
CHECKS: JsonDict = {"widget": "checks"}  # of a field with a box for each choice


def lookup(offers: str) -> JsonDict:
    """Of a field that takes a name, and offers some of those that webui/search.py has under this word."""
    return {"widget": "lookup", "lookup": offers}


# What pydantic says in its own way of what browsers and programs may send.
WORDS = {
    "missing": "it is missing.",
    "extra_forbidden": "there is no such field.",
    "string_type": "it is not text.",
    "string_too_long": "it is longer than {max_length} characters.",
    "string_pattern_mismatch": "it is not one of the choices.",
    "literal_error": "it is not one of the choices.",
    "int_parsing": "it is not one of the choices.",  # the value of a list's entry
}


class Form(BaseModel):
    """What a page or a call takes; what it does not know is left out."""

    model_config = ConfigDict(frozen=True, extra="ignore")


Read = TypeVar("Read", bound=Form)


class FormError(BadInput):
    """What was entered does not fit. `fields` has, by the model's names, what is wrong with each field, `sent` the same by the path under which it
    was sent, with slashes; the message is the first."""

    def __init__(self, model: type[Form], fields: dict[str, str], sent: dict[str, str] | None = None) -> None:
        first = next(iter(fields))
        info = model.model_fields.get(first)
        super().__init__(_sentence(model, first, fields[first]), (info and info.description) or "", field=first)
        self.fields = fields
        self.sent = sent or {_names(model).get(name, name): said for name, said in fields.items()}


# -- reading -----------------------------------------------------------------------------------------


def read(model: type[Read]) -> Read:
    """What the request sent, as the model. Raises FormError."""
    g.form = model
    return check(model, sent(model))


def check(model: type[Read], values: Mapping[str, Any]) -> Read:
    """What was entered, as the model. Raises FormError, and what the model's own checks raise."""
    try:
        return model.model_validate(values)
    except ValidationError as error:
        raise _told(model, error, values) from None


def sent(model: type[Form] | None = None) -> dict[str, Any]:
    """What the request sent: JSON, or a form; nothing when it is neither, or no object.

    Of a form, what the model has as several is a list, a file is one, and what it requires is there, if empty.
    """
    if request.is_json:
        found = request.get_json(silent=True)
        return found if isinstance(found, dict) else {}
    typed: dict[str, Any] = request.form.to_dict()
    for name, field in fields_of(model).items() if model else ():
        if field.widget == "checks":
            typed[name] = request.form.getlist(name)
        elif field.widget == "file":
            typed[name] = request.files.get(name)
        elif field.required:
            typed.setdefault(name, "")
    return typed


def was_sent(model: type[Form]) -> bool:
    """Whether it is this form that the request sent."""
    return g.get("form") is model


@cache
def fields_of(model: type[Form]) -> dict[str, schema_form.Field]:
    """The model's fields as forms have them, by the names under which they are sent."""
    return {field.name: field for field in schema_form.fields_of(model.model_json_schema())}


def names_of(model: type[Form]) -> dict[str, str]:
    """Under which name each of the model's fields is sent, and what services call it: `CALLED` of a model has what those call otherwise."""
    return {**_names(model), **getattr(model, "CALLED", {})}


def _path(values: Any, loc: Sequence[int | str]) -> str:
    """Where in what was sent a fault is, as a JSON pointer. pydantic's way there has what is none, too: the kind of an alternative, a key's mark."""
    found = []
    for number, part in enumerate(loc):
        inside = part in (range(len(values)) if isinstance(values, list) else values if isinstance(values, dict) else ())
        if inside or (number == len(loc) - 1 and part != "[key]" and isinstance(values, dict | list)):
            found.append(str(part).replace("~", "~0").replace("/", "~1"))
        if inside:
            values = values[part]
    return "/".join(found)


def _told(model: type[Form], error: ValidationError, values: Mapping[str, Any]) -> FormError:
    aliases = {field.alias: name for name, field in model.model_fields.items()}
    fields: dict[str, str] = {}
    sent: dict[str, str] = {}
    for one in error.errors(include_url=False):
        name = str(one["loc"][0])  # as it was sent, or as the model has it where nothing was sent
        said = WORDS[one["type"]].format(**one.get("ctx", {})) if one["type"] in WORDS else one["msg"]
        fields.setdefault(aliases.get(name, name), said)
        names = _names(model)
        name = names.get(name, name)
        below = _path(values.get(name), one["loc"][1:])
        sent.setdefault(f"{_path({name: 0}, [name])}{'/' if below else ''}{below}", said)
    return FormError(model, fields, sent)


def _sentence(model: type[Form], name: str, said: str) -> str:
    if (field := model.model_fields.get(name)) is None:
        return f"{name[:60]}: {said}"
    return f"{field.title}: {said}" if field.title else said


# -- showing -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class BoundField:
    """A field as a page shows it. `value` is text, whether a box is checked, or the list of what is chosen; `prefix` keeps the ids of forms apart."""

    field: schema_form.Field
    value: Any
    error: str = ""
    choices: Mapping[str, str] | None = None  # value -> words
    prefix: str = ""

    @property
    def id(self) -> str:
        return self._id("f")

    @property
    def error_id(self) -> str:
        return self._id("e")

    @property
    def help_id(self) -> str:
        return self._id("h")

    def _id(self, kind: str) -> str:
        return f"{kind}-{self.prefix}{self.field.name}".replace(" ", "-")

    @property
    def widget(self) -> str:
        return "select" if self.choices is not None and self.field.widget in ("text", "number") else self.field.widget

    @property
    def sent(self) -> str:
        """The value as a hidden field sends it along."""
        return ("yes" if self.value else "") if self.widget == "check" else str(self.value)

    def described_by(self, help: str) -> str | None:
        """The ids of what describes it: its error, and its help if it has one."""
        return " ".join(id for id, text in ((self.error_id, self.error), (self.help_id, help)) if text) or None


@dataclass(frozen=True)
class BoundForm:
    """A form as a page shows it: its fields by name, and the error that it was refused with."""

    fields: Mapping[str, BoundField]
    error: DpeError | None = None
    faults: tuple[tuple[str, str], ...] = ()  # what is wrong, in sentences, each with the id of its field or nothing

    def __getitem__(self, name: str) -> BoundField:
        return self.fields[name]

    def having(self, name: str, value: Any) -> "BoundForm":
        """The same with another value in a field."""
        return replace(self, fields={**self.fields, name: replace(self.fields[name], value=value)})


def bound(
    model: type[Form],
    stored: Mapping[str, Any] | None = None,
    error: DpeError | None = None,
    *,
    choices: Mapping[str, Mapping[Any, str]] | None = None,
    prefix: str = "",
    keep: bool = False,
    mine: bool = False,
) -> BoundForm:
    """The form with what is stored; or with what was typed and the error, if it is this form that the request sent and that was refused.

    `keep` shows what was typed all the same, as after a test. Passwords are typed anew, unless `keep` is given. `choices` are the values that a
    list offers, with their words, where the model itself does not say them. `mine` is said where a request sends several forms: the values are then
    what was typed in this one, and the error is about it.
    """
    asked = was_sent(model)
    error = error if asked or mine else None
    typed = sent(model) if asked and (error or keep) else None
    wrong = _wrong(model, error)
    found = {}
    for name, field in fields_of(model).items():
        value = _value(field, stored or {}, typed)
        if field.widget == "file" or (field.widget == "password" and not keep):
            value = ""  # a file cannot be chosen for somebody again
        offered = (choices or {}).get(name)
        words = {str(one): text for one, text in offered.items()} if offered is not None else field.words
        if (
            words is not None
            and field.widget != "checks"
            and value
            and value not in words
            and name in (stored or {} if typed is None else typed)
        ):
            words = {value: language.text("%(value)s (not there any more)", value=value), **words}
        found[name] = BoundField(field, value, wrong.get(name, ""), words, prefix)
    return BoundForm(found, error, _faults(model, error, found))


def _value(field: schema_form.Field, stored: Mapping[str, Any], typed: Mapping[str, Any] | None) -> Any:
    if field.widget == "checks":
        chosen = (stored if typed is None else typed).get(field.name)
        return [str(one) for one in chosen] if isinstance(chosen, list | tuple | set | frozenset) else []
    if typed is None:
        return schema_form.typed(field, stored.get(field.name))
    if field.widget == "check":
        return _ticked(typed.get(field.name))
    return str(typed.get(field.name, ""))


def _names(model: type[Form]) -> dict[str, str]:
    """Under which name each of the model's fields is sent."""
    sent = {name: field.alias or name for name, field in model.model_fields.items()}
    return {alias: alias for alias in sent.values()} | sent


def _wrong(model: type[Form], error: DpeError | None) -> dict[str, str]:
    """What is wrong with each field, by the names under which they are sent."""
    if isinstance(error, FormError):
        names = _names(model)
        return {names[name]: said for name, said in error.fields.items()}
    return {name: str(error)} if error is not None and (name := _names(model).get(error.field)) else {}


def _faults(model: type[Form], error: DpeError | None, found: Mapping[str, BoundField]) -> tuple[tuple[str, str], ...]:
    if error is None:
        return ()
    if isinstance(error, FormError):
        names = _names(model)
        return tuple((_sentence(model, name, said), found[names[name]].id) for name, said in error.fields.items())
    name = _names(model).get(error.field)
    return ((error.message, found[name].id if name else ""),)


# -- kinds of fields ---------------------------------------------------------------------------------


def _whole(value: Any) -> Any:
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    text = value.strip() if isinstance(value, str) else ""
    if text.isascii() and text.isdigit() and len(text) < DIGITS:
        return int(text)
    if isinstance(value, str) and not text:
        raise PydanticCustomError("missing_number", "a number is missing.")
    raise PydanticCustomError("whole", "{typed} is not a number.", {"typed": repr(value[:20] if isinstance(value, str) else value)[:40]})


def _day(value: Any) -> Any:
    text = str(value).strip()
    try:
        day = date.fromisoformat(text)
    except ValueError:
        raise PydanticCustomError("day", "{typed} is not a day.", {"typed": repr(text[:20])}) from None
    if not 2000 <= day.year < 9000:
        raise PydanticCustomError("day", "{typed} is not a day of our time.", {"typed": repr(text[:20])})
    return day


def _hour(value: Any) -> Any:
    text = str(value).strip()
    try:
        return time.fromisoformat(text).replace(second=0, microsecond=0, tzinfo=None)
    except ValueError:
        raise PydanticCustomError("hour", "{typed} is not a time of day.", {"typed": repr(text[:20])}) from None


def _content(value: Any) -> Any:
    return value.read() if isinstance(value, FileStorage) else value or b""


def _or_nothing(check: Callable[[Any], Any]) -> BeforeValidator:
    return BeforeValidator(lambda value: None if value is None or (isinstance(value, str) and not value.strip()) else check(value))


def text(missing: str) -> BeforeValidator:
    """Words that have to be there; `missing` says that they are not."""

    def check(value: Any) -> Any:
        if not isinstance(value, str) or not value:
            raise PydanticCustomError("text", missing)
        return value

    return BeforeValidator(check)


def checked(by: Callable[[str], str]) -> AfterValidator:
    """What a service checks itself: what it raises is said at the field."""

    def check(value: str) -> str:
        try:
            return by(value)
        except DpeError as error:
            raise PydanticCustomError("refused", str(error)) from None

    return AfterValidator(check)


def _ticked(value: Any) -> bool:
    return value not in (None, False, "", "no")


def _words_of(value: Any) -> Any:
    return value.replace(",", " ").split() if isinstance(value, str) else value


@dataclass(frozen=True)
class OneOf:
    """Text that is one of these, each with its words: a list in a form."""

    words: Mapping[str, str]

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_after_validator_function(self._check, handler(source))

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        return {**handler(schema), "enum": list(self.words), "words": dict(self.words)}

    def _check(self, value: str) -> str:
        if value not in self.words:
            raise PydanticCustomError("choice", "{typed} is not one of the choices.", {"typed": repr(value[:40])})
        return value


Whole = Annotated[int, BeforeValidator(_whole)]
WholeOrNothing = Annotated[int | None, _or_nothing(_whole)]
Day = Annotated[date, BeforeValidator(_day)]
DayOrNothing = Annotated[date | None, _or_nothing(_day)]
Hour = Annotated[time, BeforeValidator(_hour)]
Line = Annotated[str, StringConstraints(strip_whitespace=True)]
Ticked = Annotated[bool, BeforeValidator(_ticked)]
Upload = Annotated[bytes, BeforeValidator(_content)]  # a file that is small enough to hold; see upload.py for others
Words = Annotated[list[str], BeforeValidator(_words_of)]  # typed in one field, with commas, blanks or line ends between them


def code(help: str) -> Markup:
    """What a field's help says, where `so` is something that is written just so."""
    parts = escape(help).split("`")
    return Markup("").join(Markup("<code>{}</code>").format(part) if number % 2 else part for number, part in enumerate(parts))
