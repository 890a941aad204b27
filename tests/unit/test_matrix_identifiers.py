"""Server names and user ids of Matrix."""

import pytest

from interop.matrix.identifiers import ServerName, is_user_id, server_of


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
