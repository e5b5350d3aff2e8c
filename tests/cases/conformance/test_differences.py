"""Gradients by differences, where activities are so tiny that lines could lead anywhere."""

import numpy as np
import pytest

from pcbench.backends.torch import TorchBackend
from pcbench.cases.conformance.evaluation import evaluation, line
from pcbench.cases.conformance.subject import JudgedSubject
from pcbench.judges.problem import Problem, rounded
from pcbench.networks import NetworkSpec
from pcbench.theory.rounding.undecidable import UndecidableError
from tests.cases.conformance.faulty import WithAnswers

NAME = "gradients of the loss by differences"


class GradientsOfOne(WithAnswers):
    """Every entry of a gradient is off by one."""

    method = "loss_gradients"

    def answer(self, honest, *arguments):
        return [gradient + 1 for gradient in honest(*arguments)]


def deep_and_tiny(dtype, rng):
    spec = NetworkSpec((8,) * 21)
    weights = rounded([1e-4 * rng.standard_normal(shape) for shape in spec.shapes], dtype)
    x, y = rounded(list(rng.standard_normal((2, 6, 8))), dtype)
    return Problem(spec, weights, x, y)


def asked(backend, dtype, seed):
    rng = np.random.default_rng(seed)
    subject = JudgedSubject(backend(dtype=dtype), deep_and_tiny(dtype, rng))
    checks = evaluation(subject, rng)
    return next(check for check in checks if check.name == NAME)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("seed", range(2))
def test_differences_decide_in_deep_networks_of_tiny_weights(dtype, seed):
    assert asked(TorchBackend, dtype, seed).status == "passed"
    assert asked(GradientsOfOne, dtype, seed).status == "failed"


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("seed", range(2))
def test_a_line_goes_through_the_point_and_stays_in_the_range_of_the_dtype(dtype, seed):
    rng = np.random.default_rng(seed)
    problem = deep_and_tiny(dtype, rng)
    along = line(problem, dtype, rng)
    for end in along.values():
        end.demand_range(dtype)
    # Half the digits of the point are left where the line is rounded to a grid.
    for ours, drawn in zip(along[0].parameters, problem.parameters, strict=True):
        np.testing.assert_allclose(ours, drawn, rtol=0, atol=np.finfo(dtype).eps ** 0.5 * 1e-3)


def test_a_step_that_is_lost_beside_huge_parameters_is_undecided():
    rng = np.random.default_rng(0)
    spec = NetworkSpec((2, 2, 2), "silu")
    problem = Problem(spec, [np.full((2, 2), 1e24)] * 2, np.ones((1, 2)), np.ones((1, 2)))
    with pytest.raises(UndecidableError, match="lost in the rounding of parameters that"):
        line(problem, "float64", rng)
