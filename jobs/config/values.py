"""The scalars of a configuration: strict about kinds, exact about messages, and one way to refuse.

A value that is refused raises PydanticCustomError with the type `REFUSED`; its message says what is wrong with the
value, then what to do, and `rendering` puts file, line and key before it.
"""

from __future__ import annotations

import math
import re
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field
from pydantic_core import PydanticCustomError

from model_store.objects.opening import OPENERS

REFUSED = "refused"


class Section(BaseModel):
    """A mapping of a configuration: frozen, without unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


def refused(reason: str, *, key: str = "") -> PydanticCustomError:
    """Return the error that refuses a value, to be raised; `key` names the key inside a section that is at fault."""
    return PydanticCustomError(REFUSED, "{reason}", {"reason": reason, "key": key})


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise refused("is not a number: write one, such as 0.01")
    if not math.isfinite(value):
        raise refused("is not a finite number: write a finite one")
    return float(value)


def _integer(value: Any) -> int:
    if isinstance(value, float) and value.is_integer():
        return int(value)  # 1e6 is a natural way to write a million
    if isinstance(value, bool) or not isinstance(value, int):
        raise refused("is not a whole number: write one, such as 100")
    return value


def _flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise refused("is neither true nor false: write one of them, without quotes")
    return value


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise refused("is not a string: put it in quotes, or correct it")
    if not value.isprintable():
        raise refused("holds unprintable characters: write a name of printable ones")
    return value


def _location(value: Any) -> str:
    text = _text(value)
    if re.match(r"[^/]*://[^/]*@", text):
        raise refused("holds credentials: leave them to the environment (AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY)")
    scheme = re.match(r"([^/]*)://", text)
    if scheme and scheme[1] not in OPENERS:
        raise refused("is of an unknown kind: write s3://BUCKET/PATH, or a path")
    return text


def nothing_for_none(value: Any) -> Any:
    """Return None where the word `none` was written, which YAML reads as a string."""
    return None if value == "none" else value


def items(value: Any) -> Any:
    """Return a list of one where a single value was written."""
    return value if isinstance(value, list | tuple) else [value]


# A limit stands before the validator, so that it limits what the validator returns, and the JSON Schema shows it.
REAL = BeforeValidator(_number)
WHOLE = BeforeValidator(_integer)
TEXT = BeforeValidator(_text)

Positive = Annotated[float, Field(gt=0), REAL]
NotNegative = Annotated[float, Field(ge=0), REAL]
BelowOne = Annotated[float, Field(ge=0, lt=1), REAL]
Fraction = Annotated[float, Field(gt=0, lt=1), REAL]
Count = Annotated[int, Field(ge=1), WHOLE]
Seed = Annotated[int, Field(ge=0, lt=2**63), WHOLE]
Flag = Annotated[bool, BeforeValidator(_flag)]
Text = Annotated[str, Field(min_length=1), TEXT]
Location = Annotated[str, Field(min_length=1), BeforeValidator(_location)]
