"""What a request sent, by one way: a form, or the JSON of a call, becomes a pydantic model, and what does not fit is told at its field.

A field's title is what people call it, its description the hint that goes with an error.
"""

from collections.abc import Callable
from datetime import date
from typing import Annotated, Any, TypeVar

from flask import request
from pydantic import BaseModel, BeforeValidator, ConfigDict, ValidationError
from pydantic_core import PydanticCustomError

from appliance.errors import BadInput

DIGITS = 12  # more than a number that means something has


class Form(BaseModel):
    """What a page or a call takes; what it does not know is left out."""

    model_config = ConfigDict(frozen=True, extra="ignore")


Read = TypeVar("Read", bound=Form)


class FormError(BadInput):
    """What was entered does not fit. `fields` has, by name, what is wrong with each field; the message is the first."""

    def __init__(self, fields: dict[str, str], message: str, hint: str) -> None:
        super().__init__(message, hint)
        self.fields = fields


def read(model: type[Read]) -> Read:
    """What the request sent, as the model. Raises FormError."""
    try:
        return model.model_validate(sent())
    except ValidationError as error:
        raise _told(model, error) from None


def sent() -> dict[str, Any]:
    """What the request sent: JSON, or a form; nothing when it is neither, or no object."""
    found = request.get_json(silent=True) if request.is_json else request.form.to_dict()
    return found if isinstance(found, dict) else {}


def _told(model: type[Form], error: ValidationError) -> FormError:
    aliases = {field.alias: name for name, field in model.model_fields.items()}
    fields: dict[str, str] = {}
    for one in error.errors(include_url=False):
        name = str(one["loc"][0])  # as it was sent, or as the model has it where nothing was sent
        fields.setdefault(aliases.get(name, name), one["msg"])
    first = next(iter(fields))
    title, hint = model.model_fields[first].title, model.model_fields[first].description or ""
    return FormError(fields, f"{title}: {fields[first]}" if title else fields[first], hint)


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


def _or_nothing(check: Callable[[Any], Any]) -> BeforeValidator:
    return BeforeValidator(lambda value: None if value is None or (isinstance(value, str) and not value.strip()) else check(value))


def text(missing: str) -> BeforeValidator:
    """Words that have to be there; `missing` says that they are not."""

    def check(value: Any) -> Any:
        if not isinstance(value, str) or not value:
            raise PydanticCustomError("text", missing)
        return value

    return BeforeValidator(check)


Whole = Annotated[int, BeforeValidator(_whole)]
WholeOrNothing = Annotated[int | None, _or_nothing(_whole)]
DayOrNothing = Annotated[date | None, _or_nothing(_day)]
