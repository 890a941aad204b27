"""Two people who may know each other."""

import pytest

ANNA, BEN = "+4915112345601", "+4915112345602"


@pytest.fixture
def anna(register):
    """Who sets how she stands to others."""
    return register(ANNA)


@pytest.fixture
def ben(register):
    """Whom she may know."""
    return register(BEN)
