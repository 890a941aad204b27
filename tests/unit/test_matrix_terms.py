"""The operator's terms of service."""

from pathlib import Path

import pytest

from core.settings import SettingsError
from interop.matrix.terms import TermsOfService

ONE = """
[policies.privacy]
version = "1"
languages.en = { name = "Privacy", url = "https://example.org/1-en" }
languages.de = { name = "Datenschutz", url = "https://example.org/1-de" }
"""


def _policies(directory: Path, text: str) -> TermsOfService:
    path = directory / "terms.toml"
    path.write_text(text)
    return TermsOfService(path)


def test_without_a_file_all_is_accepted() -> None:
    """There is nothing to accept, and nothing that is accepted is kept."""
    policies = TermsOfService(None)
    assert policies.accepted_by("")
    assert policies.accept("", ["https://example.org/1-en"]) == ""


def test_one_language_is_enough(tmp_path: Path) -> None:
    """A policy that was accepted in one language is accepted."""
    policies = _policies(tmp_path, ONE)
    assert not policies.accepted_by("")
    accepted = policies.accept("", ["https://example.org/1-de"])
    assert policies.accepted_by(accepted)
    assert policies.accept(accepted, []) == accepted


def test_only_what_is_offered_is_kept(tmp_path: Path) -> None:
    """Strangers' URLs and those of versions before take no place."""
    policies = _policies(tmp_path, ONE)
    urls = ["https://example.org/1-en", "https://else.example/", "x y"]
    assert policies.accept("https://example.org/0-en", urls) == "https://example.org/1-en"


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("", "policies: is missing"),
        ("[policies.privacy]\nversion = '1'\n", "policies.privacy.languages: is missing"),
        ("[policies.privacy]\nversion = '1'\nlanguages = {}\n", "at least 1"),
        (ONE.replace("1-de", "1-en"), "share a URL"),
        (ONE.replace("https://example.org/1-de", "javascript:alert(1)"), "is not written as"),
        (ONE.replace("languages.de", "languages.version"), "is not written as"),
    ],
)
def test_a_file_that_cannot_be_used_is_refused(tmp_path: Path, text: str, fault: str) -> None:
    """The operator reads what is wrong with it when the service starts."""
    with pytest.raises(SettingsError, match=fault):
        _policies(tmp_path, text)
