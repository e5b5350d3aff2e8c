import pathlib

import pytest

from pcbench.suite import SuiteError, find_suite, load, shipped_suites


@pytest.fixture
def shipped(tmp_path, monkeypatch):
    """Make the places of shipped suites empty ones: in the package, and beside it."""
    places = tmp_path / "package" / "_suites", tmp_path / "suites"
    monkeypatch.setattr(load, "_DIRECTORIES", places)
    return places


def fill(directory, *names):
    directory.mkdir(parents=True)
    for name in names:
        (directory / name).write_text("suite: s")


def test_suites_are_found_beside_an_editable_install(shipped):
    fill(shipped[1], "theory.yaml", "cost.yml", "README.md")
    assert shipped_suites() == {
        "cost": shipped[1] / "cost.yml",
        "theory": shipped[1] / "theory.yaml",
    }


def test_the_suites_in_a_wheel_come_first(shipped):
    fill(shipped[0], "theory.yaml")
    fill(shipped[1], "other.yaml")
    assert shipped_suites() == {"theory": shipped[0] / "theory.yaml"}
    assert find_suite("theory") == shipped[0] / "theory.yaml"


def test_without_any_place_nothing_is_shipped(shipped):
    assert shipped_suites() == {}


@pytest.mark.parametrize("text", ["a/b", "./theory", "theory.yaml", "x.yml", "/no/such/thing"])
def test_what_looks_like_a_path_is_one(shipped, text):
    fill(shipped[1], "theory.yaml")
    assert find_suite(text) == pathlib.Path(text)


def test_a_path_object_is_a_path():
    assert find_suite(pathlib.Path("theory")) == pathlib.Path("theory")


def test_an_unknown_name_offers_the_nearest(shipped):
    fill(shipped[1], "theory.yaml", "cost.yaml")
    with pytest.raises(SuiteError, match=r"^teory: no suite .*; did you mean 'theory'\?$"):
        find_suite("teory")


@pytest.mark.parametrize("name", ["", "zzz", "a\0b", "x" * 5000, "\udcff"])
def test_any_other_name_lists_what_there_is(shipped, name):
    fill(shipped[1], "theory.yaml")
    with pytest.raises(SuiteError, match="known: theory") as caught:
        find_suite(name)
    str(caught.value).encode()


def test_a_file_without_suffix_is_pointed_at(shipped, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    pathlib.Path("mine").write_text("suite: s")
    with pytest.raises(SuiteError, match=r"for the file write \./mine"):
        find_suite("mine")


def test_this_repositorys_suites_are_found():
    repository = pathlib.Path(__file__).parents[2]
    assert set(shipped_suites().values()) == set((repository / "suites").glob("*.y*ml"))
