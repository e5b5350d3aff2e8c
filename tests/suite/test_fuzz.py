import gc
import json
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pcbench.suite import Suite, SuiteError, shipped_suites
from tests.helpers.toy_suites import load_suite, outline

VALID = """\
suite: theory
description: "checks é"
defaults: {seed: 0, dtype: float64, data: &data {samples: 64}}
cases:
  - id: one
    kind: toy
    data: {name: gaussian, dimension: 3}
    network: {hidden_layers: 5, width: 300}
    matrix: {network.hidden_layers: [2, 5, 10], data.name: [gaussian]}
    zip: {network.width: [300, 50], seed: [1, 2]}
    exclude: [{network.hidden_layers: 10, seed: 2}, {network.hidden_layers: 5}]
    tags: [slow, figures]
    timeout: 60
    memory_limit: 4 GiB
  - id: two
    kind: ordered
    low: 1
    high: 1e1
    figure: "5"
    expect: {fail: a reason}
    matrix:
      seed: [0, 1]
    sizes: {full: {low: 2, matrix: {seed: [2]}}, huge: {high: 20}}
  - id: three
    kind: toy
    data: {name: digits, <<: *data}
    inference: {engine: gradient, tolerance: 1.5e-3}
    seeds: 2
    tolerance_factor: {energy: {factor: 2, reason: rounding}}
"""

# The file is written anew for each example, so the shared directory carries nothing over.
relaxed = settings(
    max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)

pieces = [
    *"[]{}:,-#&*!|>'\"%@`?\n\t \\~=<.",
    *("\n  - ", ": ", "---\n", "*data", "&data", "<<: *data", "!!int ", "!!python/name:os "),
    *("null", "1e999", "matrix: {}", "é", "\u2028", "\0", "\ufeff"),
]
tokens = st.sampled_from(pieces)
soup = st.lists(tokens, max_size=60).map("".join)


def load_or_refuse(path, **options):
    """Load and outline; whatever is wrong must be told as problems, printable, one a line."""
    for read in (lambda: load_suite(path, **options), lambda: outline(path)):
        try:
            found = read()
        except SuiteError as error:
            told = error
        else:
            ids = [case.id for case in found.cases]
            assert len(set(ids)) == len(ids) > 0
            continue
        assert len(str(told).splitlines()) == len(told.problems) > 0
        assert str(told).encode()


def test_the_seed_of_the_fuzz_is_valid(load):
    suite = load(VALID)
    assert isinstance(suite, Suite)
    assert len(suite.cases) == 7


@relaxed
@given(st.binary(max_size=200))
def test_any_bytes_are_a_suite_or_its_problems(write, content):
    load_or_refuse(write(content))


@relaxed
@given(st.text(max_size=200) | soup)
def test_any_text_is_a_suite_or_its_problems(write, text):
    load_or_refuse(write(text.encode("utf-8", "replace")))


@settings(relaxed, max_examples=200)
@given(st.data())
def test_a_damaged_suite_is_a_suite_or_its_problems(write, data):
    text = VALID
    for _ in range(data.draw(st.integers(1, 3))):
        start = data.draw(st.integers(0, len(text)))
        end = start + data.draw(st.integers(0, 12))
        text = text[:start] + data.draw(tokens | st.just("") | st.text(max_size=3)) + text[end:]
    load_or_refuse(write(text.encode("utf-8", "replace")))


scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5)
keys = (
    "suite cases id kind figure matrix sizes full defaults data name samples network widths "
    "include zip exclude tags expect fail timeout memory_limit seeds tolerance_factor factor reason"
)
words = st.sampled_from(
    [
        *keys.split(),
        "inference",
        "seed",
        "low",
        "toy",
        "ordered",
        "digits",
        "gradient",
        "data.name",
        "a.b",
    ]
)
trees = st.recursive(
    scalars | words,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(words, inner, max_size=5),
    max_leaves=20,
)


@relaxed
@given(trees, trees, trees, trees)
def test_any_tree_of_values_is_a_suite_or_its_problems(write, case, defaults, matrix, sizes):
    cases = [
        case,
        {"id": "x", "kind": "toy", "matrix": matrix, "data": case, "network": matrix},
        {"id": "y", "kind": "toy", "figure": case, "matrix": matrix, "sizes": sizes},
        {"id": "z", "kind": "ordered", "matrix": {"low": [0]}, "sizes": {"full": sizes}},
        {"id": "v", "kind": "ordered", "zip": matrix, "exclude": sizes, "tags": defaults},
        {
            "id": "w",
            "kind": "ordered",
            "matrix": {"low": [0, 1]},
            "exclude": [case],
            "expect": case,
        },
        {"id": "u", "kind": "ordered", "seeds": case, "tolerance_factor": matrix},
        {"id": "t", "kind": "ordered", "seed": case, "seeds": 2, "sizes": {"full": sizes}},
    ]
    suite = {"suite": "s", "defaults": defaults, "cases": cases}
    load_or_refuse(write(json.dumps(suite)))


@relaxed
@given(trees)
def test_whatever_is_included_makes_a_suite_or_its_problems(write, include):
    suite = {"suite": "s", "include": include, "cases": [{"id": "x", "kind": "ordered"}]}
    load_or_refuse(write(json.dumps(suite)))


def memory(what):
    """Return what the system says of this process's memory, in kB."""
    [line] = (each for each in MEMORY.read_text().splitlines() if each.startswith(what))
    return int(line.split()[1])


def load_within_limits(path):
    """Load and outline, with a second of computing for each and 200 MB."""
    if MEMORY.exists():
        Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
        before = memory("VmRSS")
    gc.disable()  # what hypothesis keeps is not to be collected meanwhile
    begun = time.process_time()
    load_or_refuse(path)
    taken = time.process_time() - begun
    gc.enable()
    assert taken < 2
    if MEMORY.exists():
        assert memory("VmHWM") - before < 200_000


MEMORY = Path("/proc/self/status")
SHIPPED = [path.read_text(encoding="utf-8") for path in shipped_suites().values()]


@pytest.mark.release
@settings(relaxed, max_examples=20_000)
@given(st.data())
def test_thousands_of_damaged_suites_are_suites_or_their_problems_in_a_second(write, data):
    text = data.draw(st.sampled_from([VALID, *SHIPPED]))
    for _ in range(data.draw(st.integers(1, 5))):
        start = data.draw(st.integers(0, len(text)))
        end = start + data.draw(st.integers(0, 30))
        text = text[:start] + data.draw(tokens | words | st.text(max_size=3)) + text[end:]
    load_within_limits(write(text.encode("utf-8", "replace")))


@pytest.mark.release
@settings(relaxed, max_examples=20_000)
@given(st.binary(max_size=2000))
def test_thousands_of_files_of_bytes_are_suites_or_their_problems(write, content):
    load_within_limits(write(content))


@relaxed
@given(
    words | st.text(max_size=6), st.text(max_size=12) | st.lists(tokens, max_size=8).map("".join)
)
def test_any_override_applies_or_is_refused(write, path, value):
    load_or_refuse(write(VALID), overrides=[f"{path}={value}"])


def test_the_fuzz_can_fail(write, monkeypatch):
    monkeypatch.setattr("pcbench.suite.load.read_layout", lambda _: {}["bug"])
    with pytest.raises(KeyError):
        load_or_refuse(write(VALID))
