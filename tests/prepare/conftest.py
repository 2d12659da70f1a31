"""Bias correction in a few steps for tests that don't check it, and the ordinary scan to compare odd ones with."""

import pytest
from odd_heads import placed, put

from essim.prepare import brain


@pytest.fixture(scope="module")
def quick():
    """Bias correction in a few steps, for tests that don't check it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(brain, "BIAS_STEPS", [5])
        yield


@pytest.fixture(scope="module")
def plain(quick, tmp_path_factory):
    """The ordinary scan, placed."""
    return placed(put(tmp_path_factory.mktemp("plain")))
