"""What a flow cannot get below is bounded by the coefficients of its method.

With tolerances far above rounding only what the method itself leaves counts.
"""

import numpy as np
import pytest
from scipy.integrate import RK45
from torchdiffeq._impl.dopri5 import _DORMAND_PRINCE_SHAMPINE_TABLEAU as SHAMPINE

from pcbench.backends.numpy import NumpyBackend
from pcbench.backends.torch import TorchBackend
from pcbench.cases.conformance.draw import Draw
from pcbench.cases.conformance.inference.engines import _curvatures
from pcbench.cases.conformance.inference.steps import CAUGHT, KEPT, force_kept
from pcbench.contract import OdeInference
from pcbench.judges.answers import NEVER, Subject
from pcbench.judges.inference import InferenceJudge

pytestmark = pytest.mark.usefixtures("without_shapes")
ERRORS = {"Dormand and Prince, SciPy": RK45.E, "Shampine, torchdiffeq": SHAMPINE.c_error.numpy()}


def of_a_step(z, error):
    """``R(z)`` and ``E(z)`` of ``dz/dt = -λ z`` in a step with ``h λ = z``."""
    slopes = []
    for row in [*RK45.A, RK45.B]:
        before = sum((a * k for a, k in zip(row, slopes, strict=False)), np.zeros_like(z))
        slopes.append(-z * (1 + before))
    # The last slope is that at the end of the step.
    end = 1 + np.tensordot(RK45.B, slopes[:-1], 1)
    return end, np.tensordot(error, slopes, 1)


@pytest.mark.parametrize("error", ERRORS.values(), ids=ERRORS)
def test_what_an_accepted_step_leaves_follows_from_the_coefficients(error):
    steep = np.linspace(3, 100, 10_000)
    left, estimate = of_a_step(steep, error)
    assert (np.maximum(1, np.abs(left)) / np.abs(estimate)).max() <= CAUGHT
    for below in (np.linspace(0.5, 3, 1_000), np.linspace(1e-3, 0.5, 1_000)):
        left, _ = of_a_step(below, error)
        assert (np.minimum(below, 0.5) / 0.5 / (1 - np.abs(left))).max() <= KEPT


@pytest.mark.parametrize("backend", [TorchBackend, NumpyBackend])
def test_engines_come_down_to_what_their_tolerance_leaves_and_no_further(backend):
    ratios = []
    for seed in range(4):
        draw = Draw(depth=(2, 3), width=(4, 8), samples=(2, 5), gain=(0.8, 1.2))
        problem = draw.problem(5, np.random.default_rng(seed), "float64").problem
        judge, (least, most) = InferenceJudge(problem, "float64"), _curvatures(problem)
        off = 1e-6
        settings = OdeInference(residual=NEVER, atol=off, max_time=20 / least, max_steps=300)
        ended = Subject(backend("cpu", "float64"), problem).infer(settings)
        left = np.linalg.norm(judge.sample_residuals(judge.clamped(ended)))
        units = sum(z.size for z in ended.activities[1:-1])
        ratios.append(left / (CAUGHT * off * most * np.sqrt(units)))
    assert max(ratios) <= 1
    assert max(ratios) >= 0.01


def test_the_least_force_grows_with_the_rounding_of_activities():
    problem = Draw(depth=(2, 2), width=(4, 4)).problem(1, np.random.default_rng(0), "float64")
    double, single = (InferenceJudge(problem.problem, d) for d in ("float64", "float32"))
    ratio = force_kept(single, 3.0) / force_kept(double, 3.0)
    assert ratio == pytest.approx(2**29)
