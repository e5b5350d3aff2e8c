"""A factor on one check leaves every other check of the case as it is."""

import pytest

from pcbench.runner import run_suites
from tests.helpers.toy_suites import load_suite

SUITE = """\
suite: s
cases:
  - id: a
    kind: origin_escape
    data: {{name: toy_gaussian, samples: 64}}
    network: {{hidden_layers: 1, width: 2, initialisation: {{name: near_origin, std: 0.05}}}}
    training: {{learning_rate: 0.1, steps: 20}}
    seeds: 5
    sooner: false
    {more}
"""


@pytest.fixture
def checks(tmp_path):
    def checks(more):
        path = tmp_path / "suite.yaml"
        path.write_text(SUITE.format(more=more))
        [case] = run_suites([load_suite(path)]).cases
        return {check.name: check for check in case.checks}

    return checks


def test_a_factor_on_steps_leaves_what_is_made_of_steps(checks):
    name = "parameters after a step"
    plain = checks("backend: torch")
    wide = checks(f"tolerance_factor: {{{name}: {{factor: 1024, reason: why}}}}")
    assert wide.keys() == plain.keys()
    widened = {key for key in plain if wide[key].tolerance != plain[key].tolerance}
    assert widened == {key for key in plain if key.startswith(f"{name} (")}
    for key in widened:
        assert wide[key].tolerance == 1024 * plain[key].tolerance
        assert wide[key].derivation == f"{plain[key].derivation}, times 1024: why"
