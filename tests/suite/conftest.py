import pytest

from pcbench import registry
from pcbench.suite import SuiteError
from tests.helpers.toy_suites import load_suite, outline
from tests.suite.suite_fakes import fake_backends, fake_kinds, unmark


@pytest.fixture(autouse=True)
def fakes(monkeypatch):
    """Make the made-up case kinds and backends the only ones."""
    monkeypatch.setattr(registry, "CASES", fake_kinds())
    monkeypatch.setattr(registry, "BACKENDS", fake_backends())


@pytest.fixture
def write(tmp_path):
    """Write a suite and return its path."""

    def write(content, name="suite.yaml"):
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return write


@pytest.fixture
def load(write):
    """Load a suite from text."""

    def load(text, **options):
        return load_suite(write(text), **options)

    return load


@pytest.fixture
def load_case(load):
    """Load a suite of a single case, from the lines below its id."""

    def load_case(*lines, **options):
        (case,) = load(case_text(*lines), **options).cases
        return case

    return load_case


def case_text(*lines):
    return "\n    ".join(["suite: s\ncases:\n  - id: a", *lines])


@pytest.fixture
def refuse(write):
    """Assert that a suite has exactly the problems at its marks, in order, and what they say."""

    def refuse(text, *messages, with_kinds=True, **options):
        clean, places = unmark(text)
        path = write(clean)
        with pytest.raises(SuiteError) as caught:
            load_suite(path, **options) if with_kinds else outline(path)
        found = caught.value.problems
        assert [(problem.at.line, problem.at.column) for problem in found] == places, caught.value
        assert [problem.at.file for problem in found] == [str(path)] * len(found)
        assert len(messages) == len(found)
        for message, problem in zip(messages, found, strict=True):
            assert message in problem.message

    return refuse


@pytest.fixture
def refuse_case(refuse):
    """Do the same for a suite of a single case, from the lines below its id."""

    def refuse_case(lines, *messages, **options):
        refuse(case_text(*lines.split("\n")), *messages, **options)

    return refuse_case
