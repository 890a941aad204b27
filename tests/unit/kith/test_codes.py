"""The client's reading of typed codes, held against the service's table of cases."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import core.typed_text
from kith.commands.code_prompt import read_code

CASES = json.loads((Path(__file__).parents[2] / "data" / "typed_codes.json").read_text())


@pytest.mark.parametrize("case", CASES, ids=[case["about"] for case in CASES])
def test_typed_codes(case: dict[str, str]) -> None:
    """Each typed text is the code of its row, or none."""
    assert read_code(case["typed"]) == case["code"]


@given(st.text(alphabet="0123456789 -.,a\u2068\u00ad\u0661\uff11\u20e3\u2212\u0000\n", max_size=16))
def test_client_and_service_read_alike(text: str) -> None:
    """What one takes for a code the other does, so that nobody is asked again for a right code."""
    assert read_code(text) == core.typed_text.read_code(text)
