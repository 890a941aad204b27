"""Fields that people or their phones fill in: numbers, regions, locales, origins.

They accept every spelling with only one meaning. Errors are sentences for people.
"""

import re
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    Field,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    StringConstraints,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, core_schema

from core.typed_numbers import MAX_NUMBER_LENGTH, read_region
from core.typed_text import visible

MAX_LOCALE_LENGTH = 35
#: The host is in the last line of a text (origin-bound one-time codes).
MAX_HOST_LENGTH = 100
_LABEL = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
_ORIGIN = re.compile(rf"(?:https://)?({_LABEL}(?:\.{_LABEL})*)(?::443)?/?")
#: Browsers send this for an opaque origin (RFC 6454 section 6.1).
_OPAQUE = "null"


@dataclass(frozen=True)
class PatternConstraint:
    """A regular expression for a text, and the error message if the text does not match."""

    pattern: str
    message: str

    def __get_pydantic_core_schema__(
        self, source: Any, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        """Add the check after those of the earlier annotations."""
        return core_schema.no_info_after_validator_function(self._checked, handler(source))

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        """Add the regular expression to the JSON schema."""
        return {**handler(schema), "pattern": self.pattern}

    def _checked(self, text: str) -> str:
        if not re.search(self.pattern, text) or (self.pattern.endswith("$") and text[-1:] == "\n"):
            # Python's $ also matches before a final line end; ECMAScript's does not.
            raise ValueError(self.message)
        return text


def read_locale(text: str) -> str | None:
    """Return the BCP 47 tag of a locale; None if there is none.

    Reads `zh_TW_#Hant` (Java), `en_US.UTF-8` and `de_DE@euro` (POSIX), and the first tag of Accept-Language.
    """
    tag = re.split(r"[.@,;\s]", visible(text), maxsplit=1)[0]
    subtags: list[str] = []
    for subtag in filter(None, re.split("[-_#]", tag[: 2 * MAX_LOCALE_LENGTH])):
        known = re.fullmatch("[A-Za-z0-9]{1,8}" if subtags else "[A-Za-z]{2,3}", subtag)
        if not known or len("-".join([*subtags, subtag])) > MAX_LOCALE_LENGTH:
            break
        subtags.append(subtag)
    return "-".join(subtags) or None


def read_origin(text: str) -> str:
    """Return the host of an https origin (RFC 6454). Raises ValueError for any other."""
    origin = visible(text).lower()
    found = _ORIGIN.fullmatch(origin)
    if found is None or origin == _OPAQUE or len(found[1]) > MAX_HOST_LENGTH:
        raise ValueError(
            "A web origin is https:// and a host name, such as https://example.com, without a path"
            " and without another port."
        )
    return found[1]


def is_app_hash(text: str) -> bool:
    """Return whether a text is an app hash of Android's SMS Retriever."""
    return re.fullmatch(r"[A-Za-z0-9+/]{11}", text) is not None


def _app_hash(text: str) -> str:
    text = visible(text)
    if not is_app_hash(text):
        raise ValueError("An app hash has 11 characters, as Android's SMS Retriever names them.")
    return text


def _typed_number(text: str) -> str:
    if not text:
        raise ValueError("Enter a phone number.")
    return text


def _region(text: str) -> str:
    region = read_region(text)
    if region and not re.fullmatch("[A-Z]{2}", region):
        raise ValueError("Name the country by its two letters, such as DE or US.")
    return region


#: A phone number as typed or pasted, with or without country code.
TypedNumber = Annotated[
    str,
    StringConstraints(max_length=MAX_NUMBER_LENGTH),
    AfterValidator(_typed_number),
    Field(json_schema_extra={"minLength": 1}),
]
#: An ISO 3166 country in any case; empty if the phone knows none.
Region = Annotated[str, StringConstraints(max_length=64), AfterValidator(_region)]
#: The language of a text. An unreadable one becomes None: nobody is refused because of it.
Locale = Annotated[
    str | None,
    AfterValidator(lambda text: text and read_locale(text)),
    Field(
        description="BCP 47 language of the text, like pt-BR. What is none, such as `C`, gets the"
        " default language."
    ),
]
#: The Android app that a text is bound to.
AppHash = Annotated[str, StringConstraints(max_length=64), AfterValidator(_app_hash)]
#: The host of an origin that a text is bound to.
WebOrigin = Annotated[
    # Limit only the text: on the union, pydantic would ask None for its length.
    Annotated[str, StringConstraints(max_length=256)] | None,
    AfterValidator(lambda text: text if text is None else read_origin(text)),
    Field(description="Origin that the code is bound to: https://example.com, or just its host."),
]
