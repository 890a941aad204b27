"""Own the proof of work that a server may ask for before it sends a text (ALTCHA, version 2).

Refuse work of another kind, and more of it than a person would wait for: a hostile server must not
keep this machine busy.
"""

import re
from collections.abc import Mapping
from typing import Any

import altcha

from kith.errors import ChallengeRefused

ALGORITHM = "PBKDF2/SHA-256"
# In hash iterations that are to be expected: half a minute of one core that makes 6 million a second.
MOST_WORK = 200_000_000
# What a try costs besides its iterations, in iterations.
_COST_OF_A_TRY = 50
_MOST_SECONDS = 300.0
_KEY_LENGTH = 32
_HEX = re.compile(r"[0-9a-fA-F]{1,64}")


def solve_challenge(challenge: Mapping[str, Any]) -> str:
    """Return the `challenge_solution` of the `challenge` of a ChallengeRequired.

    It takes from milliseconds to half a minute, as the server wishes. Raise ChallengeRefused for
    one that cannot be read, is of another kind or would take longer.
    """
    try:
        asked = altcha.Challenge.from_dict(dict(challenge))
        work = _expected_work(asked.parameters)
    except (AttributeError, KeyError, TypeError, ValueError):
        raise ChallengeRefused("The server's challenge cannot be read.") from None
    if work > MOST_WORK:
        raise ChallengeRefused("The server asks for more work than this client does.")
    solution = altcha.solve_challenge(asked, timeout=_MOST_SECONDS)
    if solution is None:
        raise ChallengeRefused("The server's challenge was not solved in time.")
    return altcha.Payload(asked, solution).to_base64()


def _expected_work(parameters: altcha.ChallengeParameters) -> int:
    """Return the iterations that a solution takes on average; raise what a bad parameter raises."""
    if parameters.algorithm != ALGORITHM:
        raise ValueError("another algorithm")
    for text in (parameters.nonce, parameters.salt, parameters.key_prefix):
        if not _HEX.fullmatch(text):
            raise ValueError("no hex digits")
    if parameters.key_length != _KEY_LENGTH or type(parameters.cost) is not int:
        raise ValueError("no whole numbers, or another length")
    tries = 1 << 4 * len(parameters.key_prefix)
    return tries * (max(1, parameters.cost) + _COST_OF_A_TRY)
