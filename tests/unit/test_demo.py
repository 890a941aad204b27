"""The demo shows commands as a person would type them."""

from pathlib import Path

import pytest

from bench.demo import Person


def test_commands_are_quoted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What is shown can be pasted into a shell, brackets included."""
    person = Person("ada", "http://127.0.0.1:1", tmp_path)

    with pytest.raises(SystemExit, match="the demo stopped"):
        person.types("send", "[bold]Bob", "See you at eight")

    assert "ada$ kith send '[bold]Bob' 'See you at eight'" in capsys.readouterr().out
