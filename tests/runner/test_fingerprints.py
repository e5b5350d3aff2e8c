"""What decides the numbers of a run is in its digests."""

import pytest

from pcbench.runner import fingerprints as module
from pcbench.runner.environment import describe_environment
from tests.runner.scripted_cases import PASSED, planned, suite_of, yielding


@pytest.fixture
def made(backend, places):
    """Return the digests of a run of one case, all of whose code is a plug-in's."""

    def made(threads=1, **settings):
        suite = suite_of(planned(yielding(PASSED), **settings))
        return module.fingerprints([suite], describe_environment({}), places, threads)

    return made


def changed(one, other):
    return [key for key in one if one[key] != other[key]]


def test_the_same_run_has_the_same_digests(made):
    assert changed(made(), made()) == []


@pytest.mark.parametrize(
    "settings",
    [{"seed": 1}, {"dtype": "float32"}, {"expected_failure": "why"}, {"randomness": "r"}],
)
def test_how_a_case_runs_counts(made, settings):
    assert changed(made(), made(**settings)) == ["cases"]


def test_threads_count(made):
    assert changed(made(), made(threads=2)) == ["environment"]


@pytest.mark.parametrize("home", ["pcbench", "tests"])
def test_code_counts_of_pcbench_and_of_plug_ins(made, monkeypatch, tmp_path, home):
    sources, file = module._sources, tmp_path / "more.py"
    before = made()
    file.write_text("x = 1")

    def more(asked):
        yield from sources(asked)
        if asked == home:
            yield "more", file

    monkeypatch.setattr(module, "_sources", more)
    assert changed(before, made()) == ["code"]
