"""What the kinds of curvature refuse, and why; and the sides of a kink."""

import numpy as np
import pytest

from pcbench.case import CaseSkippedError
from pcbench.cases.hessian_spectrum import SmoothNetwork
from pcbench.cases.origin_curvature import OriginNetwork as CurvatureNetwork
from pcbench.cases.origin_curvature import one_sided_direction, one_sided_growth
from pcbench.cases.origin_hessian import OriginNetwork
from pcbench.judges.problem import Problem
from pcbench.networks import NetworkSpec
from pcbench.runner import run_suites
from tests.helpers.toy_suites import load_suite

TWO = {"widths": [3, 3]}
REFUSED = [
    (OriginNetwork, TWO | {"activation": "sigmoid"}, "not 0 at 0"),
    (CurvatureNetwork, TWO | {"activation": "sigmoid"}, "not 0 at 0"),
    (OriginNetwork, TWO | {"activation": "relu", "convention": "pre"}, "one side"),
    (OriginNetwork, {"widths": [3], "activation": "relu"}, "cross block depends on the side"),
    (OriginNetwork, TWO | {"bias": True}, "without biases"),
    (OriginNetwork, TWO | {"initialisation": "lecun_normal"}, "leave initialisation out"),
    (CurvatureNetwork, TWO | {"activation": "leaky_relu", "convention": "pre"}, "leaky_relu"),
    (
        CurvatureNetwork,
        {"widths": [3, 3, 3], "activation": "relu", "convention": "pre"},
        "2 hidden layers",
    ),
    (SmoothNetwork, TWO | {"activation": "relu"}, "lie on kinks"),
    (SmoothNetwork, TWO | {"convolutions": [{"channels": 1, "pool": 2}]}, "lie on kinks"),
]


@pytest.mark.parametrize(("network", "written", "reason"), REFUSED)
def test_what_cannot_be_asked_is_refused_with_the_reason(network, written, reason):
    with pytest.raises(ValueError, match=reason):
        network.model_validate(written)


def problem(y):
    network = NetworkSpec((3, 4, 4, 2), "relu", "pre")
    rng = np.random.default_rng(0)
    return Problem(network, [np.zeros(s) for s in network.shapes], rng.standard_normal((6, 3)), y)


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_no_unit_is_drawn_down_along_a_direction(sign):
    y = sign * np.abs(np.random.default_rng(1).standard_normal((6, 2)))
    along = one_sided_direction(problem(y), np.random.default_rng(2))
    assert (y @ along[-1] >= 0).all()
    *others, last = one_sided_growth(problem(y), along)
    assert not any(layer.any() for layer in others)
    assert np.sum(last * along[-1]) < 0


def test_targets_of_both_signs_are_skipped():
    with pytest.raises(CaseSkippedError, match="one sign"):
        one_sided_direction(problem(np.array([[1.0, -1.0]] * 6)), np.random.default_rng(0))


SMALL = ["data.samples=4", "network.width=5", "directions=1", "probes=2", "density_steps=8"]


@pytest.mark.parametrize(
    ("suite", "select", "overrides"),
    [
        ("curvature", "anywhere-else", ["data.samples=4", "network.widths=[3, 3]", "probes=2"]),
        pytest.param("curvature", "million", SMALL, marks=pytest.mark.slow),
        ("curvature", "origin-rectified", ["network.widths=[4, 4]"]),
        ("zero_rank_saddles", "thousands", ["network.widths=[4, 4, 4]"]),
        ("critical_points", "wide-noisy or low-rank", ["starts=20", "arrivals=0"]),
        ("landscape", "wide[initialisation=origin]", ["points=5"]),
    ],
)
def test_suites_of_curvature_pass_where_they_are_made_small(suite, select, overrides):
    loaded = load_suite(suite, select=select, overrides=overrides)
    report = run_suites([loaded])
    assert {case.id: case.message for case in report.cases if case.status != "passed"} == {}
    assert report.summary.passed > 0
