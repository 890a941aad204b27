"""Terms of service: which there are, by the operator's file, and whether somebody accepted them.

Owns the reading of that file. Refuses a file in which two policies share a URL, since by URLs they are
accepted.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated

from pydantic import Field, StringConstraints, model_validator

from core.toml_file import TomlTable, load_toml

Url = Annotated[str, StringConstraints(pattern=r"^https?://[!-~]{1,500}$")]


class Wording(TomlTable):
    """A policy in one language."""

    name: str = Field(min_length=1, max_length=200)
    url: Url


class TermsPolicy(TomlTable):
    """A policy: its version, and its wordings by language."""

    version: str = Field(min_length=1, max_length=50)
    languages: dict[Annotated[str, StringConstraints(pattern=r"^[a-z]{2,3}$")], Wording] = Field(
        min_length=1
    )


class TermsFile(TomlTable):
    """All policies, by a name of the operator's choice."""

    policies: dict[Annotated[str, StringConstraints(pattern=r"^[a-z0-9_]{1,50}$")], TermsPolicy]

    @model_validator(mode="after")
    def _urls_are_distinct(self) -> "TermsFile":
        urls = [url for policy in self.policies.values() for url in _urls(policy)]
        if len(set(urls)) < len(urls):
            raise ValueError("two policies or languages share a URL")
        return self


def _urls(policy: TermsPolicy) -> list[str]:
    return [wording.url for wording in policy.languages.values()]


class Policies:
    """What is offered, and what is still to be accepted."""

    def __init__(self, file: Path | None) -> None:
        setting = "KITH_MATRIX_TERMS_FILE"
        policies = load_toml(file, TermsFile, setting=setting).policies if file else {}
        #: As `GET /terms` shows them.
        self.shown: Mapping[str, object] = {
            name: {"version": policy.version}
            | {language: text.model_dump() for language, text in policy.languages.items()}
            for name, policy in policies.items()
        }
        self._urls = [frozenset(_urls(policy)) for policy in policies.values()]

    def accepted_by(self, accepted: str) -> bool:
        """Say whether each policy was accepted, in whatever language; `accepted` as it is stored."""
        return not self._urls or all(urls.intersection(accepted.split()) for urls in self._urls)

    def accept(self, accepted: str, urls: Iterable[str]) -> str:
        """Add URLs to what was accepted; kept is only what is offered."""
        offered = frozenset[str]().union(*self._urls)
        return "\n".join(sorted(offered.intersection([*accepted.split(), *urls])))
