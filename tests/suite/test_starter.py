"""The suite to begin with is valid, and replaces nothing."""

import pytest

from pcbench import registry
from pcbench.errors import UsageError
from pcbench.suite import load_suites, write_starter


@pytest.fixture(autouse=True)
def fakes():
    """Let real case kinds be, other than in the tests beside this one."""


def test_the_starter_is_a_valid_suite_at_every_size(tmp_path):
    file = tmp_path / "mine.yaml"
    write_starter(file)
    for size in ("quick", "full"):
        [suite] = load_suites([file], size=size)
        assert len(suite.cases) == 9
    assert {case.kind for case in suite.cases} <= {*registry.CASES.names()}


def test_a_file_that_is_there_is_left_as_it_is(tmp_path):
    file = tmp_path / "mine.yaml"
    file.write_text("mine")
    with pytest.raises(UsageError, match="is left as it is"):
        write_starter(file)
    assert file.read_text() == "mine"


def test_a_place_that_takes_no_file_is_named(tmp_path):
    with pytest.raises(UsageError, match="choose another place"):
        write_starter(tmp_path / "absent" / "mine.yaml")
