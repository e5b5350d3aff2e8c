"""Agreement of engines: one minimum found twice passes, two minima of one network do not."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.optimize import minimize

from pcbench.checks import all_passed
from pcbench.judges.agreement import agreement, is_smooth
from pcbench.judges.answers import InferenceResult
from pcbench.judges.problem import Problem
from pcbench.networks import Convolution, NetworkSpec
from pcbench.theory.nonlinear.layered import activity_residuals, layered_energies


def two_valleys():
    """A network whose steep second layer is satisfied far from, or not at all near, its input."""
    weights = [np.array([[-2.0]]), np.array([[20.0]]), np.array([[10.0]])]
    x, y = np.array([[1.0]]), np.array([[10.0]])
    return Problem(NetworkSpec((1, 1, 1, 1), "tanh"), weights, x, y)


def settled(problem, start):
    """Minimise the energy from given hidden activities by an independent method."""
    network = problem.layered

    def activities(hidden):
        return [problem.x, *(np.array([[z]]) for z in hidden), problem.y]

    def energy(hidden):
        return layered_energies(network, activities(hidden)).sum()

    def slopes(hidden):
        return np.concatenate(activity_residuals(network, activities(hidden))).ravel()

    found = minimize(energy, start, jac=slopes, method="BFGS", options={"gtol": 1e-10})
    z = activities(found.x)
    energies = layered_energies(network, z)
    return InferenceResult(z, energies, 1, np.array(1e-10), True)


def test_the_same_minimum_from_two_sides_agrees():
    problem = two_valleys()
    found = {"left": settled(problem, [-1.0, -0.9]), "right": settled(problem, [-1.1, -1.0])}
    curvature, *made = agreement(problem, found, samples=1)
    assert all_passed(made)
    assert [check.name for check in made] == [
        "right and left: activities",
        "right and left: energy",
    ]
    assert min(curvature.columns["left"] + curvature.columns["right"]) > 0


def test_two_minima_of_one_network_do_not_agree():
    problem = two_valleys()
    found = {"near": settled(problem, [-1.0, -1.0]), "far": settled(problem, [0.1, 0.9])}
    curvature, *made = agreement(problem, found, samples=1)
    assert min(curvature.columns["near"] + curvature.columns["far"]) > 0
    assert [check.passed for check in made] == [False, False]


def test_what_is_no_minimum_yet_is_not_compared_and_its_curvature_told():
    """An honest engine that is asked for a loose residual may stop on a ridge."""
    problem = two_valleys()
    valley = settled(problem, [-1.0, -1.0])
    ridge = [problem.x, np.array([[-0.0275]]), np.array([[0.985]]), problem.y]
    found = {"valley": valley, "ridge": replace(valley, activities=ridge)}
    [curvature] = agreement(problem, found, samples=1)
    assert curvature.columns["valley"][0] > 0 > curvature.columns["ridge"][0]


@pytest.mark.parametrize(
    ("activation", "pool", "smooth"),
    [("tanh", 1, True), ("silu", 1, True), ("relu", 1, False), ("tanh", 2, False)],
)
def test_kinks_are_those_of_rectifiers_and_of_pooling(activation, pool, smooth):
    layer = Convolution((1, 4, 4), 2, 3, pool)
    network = NetworkSpec((16, layer.outputs, 3), activation, "post", convolutions=(layer,))
    assert is_smooth(network) == smooth
