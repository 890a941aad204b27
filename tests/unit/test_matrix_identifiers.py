"""Server names and user ids of Matrix."""

import pytest

from interop.matrix.identifiers import ServerName, is_user_id, registrable_domain, server_of


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("matrix.org", ServerName("matrix.org", None)),
        ("matrix.org:8888", ServerName("matrix.org", 8888)),
        ("1.2.3.4", ServerName("1.2.3.4", None)),
        ("1.2.3.4:1234", ServerName("1.2.3.4", 1234)),
        ("[1234:5678::abcd]", ServerName("1234:5678::abcd", None)),
        ("[1234:5678::abcd]:5678", ServerName("1234:5678::abcd", 5678)),
    ],
)
def test_server_names_of_the_specification(text: str, expected: ServerName) -> None:
    """Each example of the appendix is read."""
    assert ServerName.parse(text) == expected
    assert expected.is_address is (text[0] in "1[")


@pytest.mark.parametrize(
    "text",
    [
        "",
        ":1",
        "a:",
        "a:0",
        "a:65536",
        "a:x",
        "[::1",
        "::1",
        "[a.example]",
        "a b",
        "a\n",
        "a" * 256,
    ],
)
def test_what_is_no_server_name(text: str) -> None:
    """It is refused as a whole."""
    assert ServerName.parse(text) is None


@pytest.mark.parametrize(
    "text", ["@alice:example.org", "@a=/+b:[::1]:8448", "@O'Neil:1.2.3.4", "@!:x"]
)
def test_user_ids(text: str) -> None:
    """Old homeservers' wider local parts are taken too."""
    assert is_user_id(text)
    assert server_of(text) == text.partition(":")[2]


@pytest.mark.parametrize(
    "text",
    [
        *("", "alice", "@alice", "@:example.org", "alice:example.org", "@alice:", "@a b:x"),
        *("@ä:x", "@a:x\n", "@a:b:c", "@a:x:0", "@" + "a" * 254 + ":x"),
    ],
)
def test_what_is_no_user_id(text: str) -> None:
    """It is refused as a whole."""
    assert not is_user_id(text)


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("matrix.org", "matrix.org"),
        ("Chat.Matrix.ORG", "matrix.org"),
        ("a.b.example.co.uk", "example.co.uk"),
        ("example.co.uk.", "example.co.uk"),
        ("alice.duckdns.org", "duckdns.org"),
        ("bob.github.io", "github.io"),
        ("a.xn--p1ai", "a.xn--p1ai"),
        ("co.uk", "co.uk"),
        ("localhost", "localhost"),
        ("a..b", "a..b"),
        ("192.0.2.17", "192.0.2.0/24"),
        ("2001:db8:1:2::3", "2001:db8:1::/48"),
    ],
)
def test_what_was_registered_for_a_host(host: str, expected: str) -> None:
    """The owner of a domain has all hosts in it, and the owner of an address its neighbours."""
    assert registrable_domain(host) == expected


def test_a_server_name_is_written_as_it_was_read() -> None:
    """Brackets and port included."""
    for text in ("a.example", "a.example:8448", "[::1]", "[::1]:8448", "192.0.2.1:1"):
        name = ServerName.parse(text)
        assert name is not None and name.text == text
