"""Bias correction in a few steps where it isn't looked at, and the ordinary scan that odd ones are held against."""

import pytest
from odd_heads import placed, put

from essim.prepare import brain


@pytest.fixture(scope="module")
def quick():
    """Bias correction in a few steps, where it isn't looked at."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(brain, "BIAS_STEPS", [5])
        yield


@pytest.fixture(scope="module")
def plain(quick, tmp_path_factory):
    """What the ordinary scan becomes."""
    return placed(put(tmp_path_factory.mktemp("plain")))
