"""A result says what its case was given: samples, weights, starts."""

import pytest

from pcbench.runner import run_suites
from tests.helpers.toy_suites import load_suite

SUITE = """\
suite: given
defaults: {backend: torch}
cases:
  - {id: drawn, kind: conformance, networks: 1, question: evaluation}
  - {id: searched, kind: critical_points, widths: [2, 2, 2], starts: 10, arrivals: 0}
  - id: trained
    kind: origin_escape
    data: {name: toy_gaussian, samples: 64}
    network: {hidden_layers: 1, width: 2, initialisation: {name: near_origin, std: 0.05}}
    training: {learning_rate: 0.1, steps: 20}
    sooner: false
    judged: 0
"""
GIVEN = {
    "drawn": {"networks"},
    "searched": {"data", "starts"},
    "trained": {"data", "weights", "weights of all seeds"},
}


@pytest.fixture(scope="module")
def digests(tmp_path_factory):
    path = tmp_path_factory.mktemp("given") / "suite.yaml"
    path.write_text(SUITE)
    return [
        {case.id: case.digests for case in run_suites([load_suite(path, overrides=[seed])]).cases}
        for seed in ("seed=0", "seed=1")
    ]


@pytest.mark.parametrize("case", GIVEN)
def test_the_digests_tell_what_was_given(digests, case):
    first, other = (each[case] for each in digests)
    assert first.keys() == GIVEN[case]
    assert not {*first.values()} & {*other.values()}
