"""What is wrong with a certificate is told, and not that the server is not there."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from kith import Kith, KithAuthoritiesUnreadable, KithCertificateRefused
from kith.cli import main
from kith.commands.errors import describe_error
from kith.commands.session import Dependencies
from tests.tls_front import CERTIFICATE, tls_front
from tests.unit.kith.canned import TOKEN


@pytest.mark.parametrize(
    ("host", "authorities", "words"),
    [
        ("127.0.0.1", None, "certificate"),
        ("localhost", CERTIFICATE, "localhost"),
    ],
)
def test_a_certificate_that_is_not_accepted_is_named(
    host: str, authorities: Path | None, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of an authority that nobody here trusts, or for another name; asked once."""
    if authorities is not None:
        monkeypatch.setenv("SSL_CERT_FILE", str(authorities))
    slept: list[float] = []
    with (
        tls_front(1) as port,
        Kith(f"https://{host}:{port}", TOKEN, sleep=slept.append) as kith,
        pytest.raises(KithCertificateRefused, match="is not accepted: .*" + words) as caught,
    ):
        kith.account()
    assert slept == []
    told = describe_error(caught.value)
    assert told.exit_code == 4
    assert f"certificate of {host}:{port}" in told.message
    assert "Is the server running?" not in told.hint


@pytest.mark.parametrize("content", [None, "no certificate"])
@pytest.mark.usefixtures("signed_in", "run")
def test_authorities_that_cannot_be_read_are_one_line(
    content: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file that is not there, or holds no certificate, is named."""
    file = tmp_path / "authorities.pem"
    if content is not None:
        file.write_text(content)
    monkeypatch.setenv("SSL_CERT_FILE", str(file))

    with pytest.raises(KithAuthoritiesUnreadable):
        Kith("https://kith.test")
    told = CliRunner().invoke(main, ["whoami"], obj=Dependencies())

    assert told.exit_code == 7
    assert str(file) in told.stderr
    assert "SSL_CERT_FILE" in told.stderr
    assert isinstance(told.exception, SystemExit)
