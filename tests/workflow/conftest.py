"""What tests of profiles and plans share: the profiles in a folder that they may change."""

import shutil

import profiles
import pytest


@pytest.fixture
def own_profiles(tmp_path, monkeypatch):
    """A folder with the profiles, to change."""
    shutil.copytree(profiles.FOLDER, tmp_path / "profiles")
    monkeypatch.setattr(profiles, "FOLDER", tmp_path / "profiles")
    return tmp_path / "profiles"
