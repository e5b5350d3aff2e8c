from pathlib import Path

import pytest

from pcbench.data import DataDirectoryError, Places
from pcbench.errors import UsageError


def test_the_named_directory_comes_first_then_the_cache_then_the_system(tmp_path):
    places = Places.default({"PCBENCH_DATA": str(tmp_path)})
    assert places.folders == (tmp_path, places.cache, Path("/usr/share/datasets"))


@pytest.mark.parametrize("environment", [{}, {"PCBENCH_DATA": ""}])
def test_without_a_named_directory_the_cache_comes_first(environment):
    places = Places.default(environment)
    assert places.folders[0] == places.cache
    assert places.cache.name == "pcbench"


def test_a_relative_name_stays_valid_when_the_working_directory_changes(tmp_path, monkeypatch):
    (tmp_path / "data").mkdir()
    monkeypatch.chdir(tmp_path)
    assert Places.default({"PCBENCH_DATA": "data"}).folders[0] == tmp_path / "data"


def test_a_named_directory_that_is_absent_or_a_file_is_refused_with_the_remedy(tmp_path):
    file = tmp_path / "file"
    file.touch()
    for path in (tmp_path / "absent", file):
        with pytest.raises(DataDirectoryError, match=r"PCBENCH_DATA is .*; set it to") as caught:
            Places.default({"PCBENCH_DATA": str(path)})
        assert str(path) in str(caught.value)
        assert isinstance(caught.value, UsageError)


def test_the_environment_is_read_when_places_are_made(tmp_path, monkeypatch):
    monkeypatch.setenv("PCBENCH_DATA", str(tmp_path))
    places = Places.default()
    monkeypatch.delenv("PCBENCH_DATA")
    assert places.folders[0] == tmp_path


def test_what_is_found_comes_folder_by_folder(tmp_path):
    places = Places((tmp_path / "a", tmp_path / "b", tmp_path / "c"), tmp_path)
    found = places.find(lambda folder: [folder.name, "more"] if folder.name > "a" else [])
    assert list(found) == ["b", "more", "c", "more"]
