"""Terms of service: the policies of the operator's file, and who accepted them.

Policies are accepted by URL, so no two share one.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated

from pydantic import Field, StringConstraints, model_validator

from core.toml_file import TomlTable, load_toml

Url = Annotated[str, StringConstraints(pattern=r"^https?://[!-~]{1,500}$")]


class PolicyTranslation(TomlTable):
    """A policy in one language."""

    name: str = Field(min_length=1, max_length=200)
    url: Url


class PolicyDocument(TomlTable):
    """A policy: its version, and its translations by language."""

    version: str = Field(min_length=1, max_length=50)
    languages: dict[
        Annotated[str, StringConstraints(pattern=r"^[a-z]{2,3}$")], PolicyTranslation
    ] = Field(min_length=1)


class TermsFile(TomlTable):
    """All policies, by name."""

    policies: dict[Annotated[str, StringConstraints(pattern=r"^[a-z0-9_]{1,50}$")], PolicyDocument]

    @model_validator(mode="after")
    def _urls_are_distinct(self) -> "TermsFile":
        urls = [url for policy in self.policies.values() for url in _urls(policy)]
        if len(set(urls)) < len(urls):
            raise ValueError("two policies or languages share a URL")
        return self


def _urls(policy: PolicyDocument) -> list[str]:
    return [translation.url for translation in policy.languages.values()]


class TermsOfService:
    """The policies that users must accept."""

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
        """Return whether each policy was accepted, in any language; `accepted` as it is stored."""
        return not self._urls or all(urls.intersection(accepted.split()) for urls in self._urls)

    def accept(self, accepted: str, urls: Iterable[str]) -> str:
        """Return `accepted` with further URLs, without those that are not offered."""
        offered = frozenset[str]().union(*self._urls)
        return "\n".join(sorted(offered.intersection([*accepted.split(), *urls])))
