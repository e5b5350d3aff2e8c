"""An engine is added by one class, without a change to the package, and judged like any other."""

import pytest

from pcbench.contract import ENGINES
from pcbench.runner import run_suites
from pcbench.suite import load_suites
from tests.helpers.momentum import MISTAKES, MomentumInference, infer_by_momentum, offering
from tests.helpers.plugged_in import plugged_in

pytestmark = pytest.mark.usefixtures("timed_twice", "without_shapes")

SUITE = """
suite: added
cases:
- id: cost
  kind: inference_cost
  data: {name: toy_gaussian, samples: 6, dimension: 3}
  network: {hidden_layers: 2, width: 5}
  engines: &engines
    momentum: {engine: momentum, max_steps: 2000}
    exact: {engine: exact}
  residuals: [1e-2, 1e-4]
- id: equilibrium
  kind: equilibrium
  data: {name: toy_gaussian, samples: 4, dimension: 3}
  network: {hidden_layers: 2, width: 4, activation: tanh}
  engines: {momentum: {engine: momentum, residual: 1e-5, momentum: 0.8, max_steps: 5000}}
- {id: inference, kind: conformance, question: inference, engine: momentum, networks: 4, draw: &draw
    {layers: smooth, depth: [2, 3], width: [2, 5], samples: [1, 3]}}
- {id: settings, kind: conformance, question: settings, networks: 3, draw: *draw}
- {id: replicas, kind: conformance, question: replicas, networks: 2, draw: *draw}
- {id: training, kind: conformance, question: training, networks: 6, draw: *draw}
- {id: conduct, kind: conformance, question: conduct, networks: 1, draw: *draw}
- {id: robustness, kind: conformance, question: robustness, networks: 1, draw: *draw}
"""


@pytest.fixture(scope="module", autouse=True)
def _added():
    ways = {"momentum": infer_by_momentum, **MISTAKES}
    backends = {name: offering(infer, name) for name, infer in ways.items()}
    with plugged_in(backends), plugged_in({"momentum": MomentumInference}, ENGINES):
        yield


def run(tmp_path, backend, select=""):
    path = tmp_path / "added.yaml"
    path.write_text(SUITE)
    return run_suites(
        load_suites([str(path)], overrides=[f"backend={backend}"], select=select)
    ).cases


def test_every_kind_that_takes_engines_judges_it(tmp_path):
    cases = run(tmp_path, "momentum")
    assert {case.id: case.status for case in cases} == dict.fromkeys(
        (line.split()[2].rstrip(",") for line in SUITE.splitlines() if "id: " in line), "passed"
    )
    checks = {case.id: " ".join(check.name for check in case.checks) for case in cases}
    for kind in ("cost", "equilibrium", "inference", "settings", "replicas"):
        assert "momentum: " in checks[kind]


@pytest.mark.parametrize(
    ("mistake", "check"),
    [
        ("uphill", "momentum: energy ≤ loss"),
        ("always_arrived", "momentum: converged as reported"),
        ("beyond_its_budget", "momentum: steps"),
        ("of_half_the_budget", "momentum: count"),
        ("without_a_record", "momentum: rows of the record"),
        ("smaller_residual", "momentum: reported residual"),
    ],
)
def test_a_mistake_in_it_is_caught(tmp_path, mistake, check):
    [case] = run(tmp_path, mistake, "settings")
    assert case.status == "failed"
    assert check in {found.name for found in case.checks if found.status == "failed"}


@pytest.mark.parametrize("mistake", ["uphill", "smaller_residual"])
def test_inference_alone_catches_what_it_says_of_where_it_ended(tmp_path, mistake):
    cases = run(tmp_path, mistake, "cost or inference")
    assert {case.status for case in cases} == {"failed"}


def test_a_backend_without_it_is_judged_by_the_others(tmp_path):
    cost, inference, *_ = run(tmp_path, "numpy", "cost or inference")
    assert (cost.status, inference.status) == ("passed", "skipped")
    assert "does not offer momentum_inference" in inference.message
    assert cost.omitted == {
        "engine momentum": "the backend 'numpy' does not offer momentum_inference"
    }


def test_a_misspelt_engine_is_told_the_nearest(tmp_path):
    path = tmp_path / "misspelt.yaml"
    path.write_text(SUITE.replace("engine: momentum, max_steps", "engine: momentun, max_steps"))
    with pytest.raises(Exception, match=r"unknown engine 'momentun'; did you mean 'momentum'\?"):
        load_suites([str(path)])
