"""What tests of the workflow share: profiles to change, and a finished stand-in of the study."""

import shutil

import profiles
import pytest
from stand_in import finished_stand_in
from study_folder import Study


@pytest.fixture
def own_profiles(tmp_path, monkeypatch):
    """A folder with the profiles, to change."""
    shutil.copytree(profiles.FOLDER, tmp_path / "profiles")
    monkeypatch.setattr(profiles, "FOLDER", tmp_path / "profiles")
    return tmp_path / "profiles"


@pytest.fixture(scope="session")
def finished(tmp_path_factory):
    """A stand-in of the study, run to its end. Not to be changed."""
    return finished_stand_in(tmp_path_factory.mktemp("study"))


@pytest.fixture
def study(finished, tmp_path):
    """The finished stand-in study, a copy to change; times are kept."""
    shutil.copytree(finished.folder, tmp_path / "study", symlinks=True)
    return Study(tmp_path / "study")
