"""Another backend's answers against the reference's: how far apart, in units of what is allowed.

A backend is found by its name in the registry, and compared as far as its capabilities go.
"""

from dataclasses import dataclass
from functools import cache

import numpy as np
import pytest

from pcbench.backends.numpy import NumpyBackend
from pcbench.backends.numpy.state import Clamped, full_curvature
from pcbench.contract import (
    Adam,
    Capability,
    ErrorInference,
    ExactInference,
    GaussNewtonInference,
    GradientInference,
    OdeInference,
    Sgd,
    TrainingSettings,
)
from pcbench.errors import UsageError
from pcbench.registry import BACKENDS
from pcbench.theory.nonlinear.activations import (
    ACTIVATIONS,
)
from tests.backends.torch.layered import CONVOLVED, DENSE, draw, networks

REFERENCE = NumpyBackend()
# Twelve bits: small networks lose few, wrong formulas all.
BITS = 2.0**12


@cache
def backend_or_reason(name, dtype):
    try:
        return BACKENDS.load(name)("cpu", dtype)
    except UsageError as error:
        return str(error)


def other(name, dtype, *needed):
    """Make the backend, or skip the test with the reason."""
    found = backend_or_reason(name, dtype)
    if isinstance(found, str):
        pytest.skip(found)
    for capability in needed:
        if capability not in found.capabilities:
            pytest.skip(f"{name} does not offer {capability}")
    return found


def problem_for(
    backend,
    data,
    activations=ACTIVATIONS,
    bodies=(DENSE, *CONVOLVED),
    *,
    biases=True,
    masked=True,
    **more,
):
    """Draw a problem that the backend offers to take."""
    if Capability.NONLINEAR not in backend.capabilities:
        activations, biases = ("identity",), False
    if Capability.CONVOLUTIONS not in backend.capabilities:
        bodies = (DENSE,)
    activation, convention, bias, *rest = data.draw(networks(activations, bodies, **more))
    problem = draw(activation, convention, bias and biases, *rest, dtype=backend.dtype)
    if masked and Capability.PRECISION in backend.capabilities:
        return problem.masked()
    return problem.unmasked()


@dataclass(frozen=True)
class Asked:
    """A problem put to a backend; precision is only mentioned if there is one."""

    backend: object
    problem: object

    @property
    def model(self):
        return self.backend.build(self.problem.network, self.problem.parameters)

    @property
    def precision(self):
        if self.problem.precision is None:
            return ()
        return (self.backend.to_device(self.problem.precision),)

    @property
    def batch(self):
        return *map(self.backend.to_device, (self.problem.x, self.problem.y)), *self.precision

    @property
    def activities(self):
        return [self.backend.to_device(z) for z in self.problem.activities]

    def host(self, *answers):
        return [self.backend.to_host(answer) for answer in answers]

    def infer(self, inference):
        x, y, *precision = self.batch
        return self.model.infer(x, y, inference, *precision)

    def hidden(self, reached):
        """The hidden activities that inference reached, side by side."""
        hidden = self.host(*reached.activities[1:-1])
        return np.concatenate([self.problem.x[:, :0], *hidden], axis=1)

    def state(self, reached):
        """Where inference ended, as the reference sees it."""
        problem = self.problem
        layers = REFERENCE.build(problem.network, problem.parameters).layers
        clamped = Clamped.of(layers, problem.x, problem.y, problem.precision)
        return clamped.at(self.host(*reached.activities[1:-1]))


def both(backend, problem):
    return Asked(backend, problem), Asked(REFERENCE, problem)


def off(ours, theirs, dtype):
    """How far answers are apart, in units of what the dtype leaves between right ones."""
    assert [a.shape for a in ours] == [b.shape for b in theirs]
    ours, theirs = (np.concatenate([a.ravel() for a in each] or [[0.0]]) for each in (ours, theirs))
    size = max(float(np.linalg.norm(theirs)), 1e-2)
    return float(np.linalg.norm(ours - theirs)) / size / (BITS * float(np.finfo(dtype).eps))


def values(asked):
    """Everything of the required part that is no inference."""
    x, y, *precision = asked.batch
    model, z = asked.model, asked.activities
    return {
        "prediction": [model.predict(x)],
        "loss": [model.loss(x, y, *precision)],
        "loss gradients": model.loss_gradients(x, y, *precision),
        "energies": [model.energies(z, *precision)],
        "energy gradients": model.energy_gradients(z, *precision),
    }


def values_off(backend, problem):
    theirs, ours = both(backend, problem)
    found, expected = values(theirs), values(ours)
    return {
        name: off(theirs.host(*found[name]), ours.host(*expected[name]), backend.dtype)
        for name in expected
    }


STEPPING = {
    "gradient": GradientInference(step=0.05, max_steps=4, residual=1e-15, record=True),
    "halving": GradientInference(
        step=1.5, halve=True, smallest_step=0.4, max_steps=9, residual=1e-15, record=True
    ),
    "error": ErrorInference(step=0.05, max_steps=4, residual=1e-15, record=True),
}


def steps_off(backend, problem, inference):
    """Engines whose every step the contract spells out: both have to take the same ones."""
    theirs, ours = both(backend, problem)
    found, expected = theirs.infer(inference), ours.infer(inference)
    assert (found.steps, found.converged) == (expected.steps, expected.converged)
    apart = {
        "activities": off(
            theirs.host(*found.activities), ours.host(*expected.activities), backend.dtype
        ),
    }
    for part in ("energies", "residual", "path"):
        both_parts = getattr(found, part), getattr(expected, part)
        if all(array is not None for array in both_parts):
            apart[part] = off(theirs.host(both_parts[0]), ours.host(both_parts[1]), backend.dtype)
    return apart


ARRIVING = {
    "gradient": GradientInference(step=0.2, max_steps=20_000, residual=1e-6),
    "error": ErrorInference(step=0.2, max_steps=20_000, residual=1e-6),
    "gauss_newton": GaussNewtonInference(residual=1e-9, max_steps=200),
    "ode": OdeInference(residual=1e-6),
}


def ends_off(backend, problem, inference):
    """Where engines end, in units of what their residuals and the least curvature leave open.

    The reference finds no more slope there than was asked for. With curvature of at least ``c``
    between them, they are ``(‖ρ‖ + ‖ρ'‖)/c`` apart at most; half of the least there
    is relied on. ``None`` where that is no minimum to speak of.
    """
    theirs, ours = both(backend, problem)
    expected = ours.infer(GaussNewtonInference(residual=1e-12, max_steps=200))
    end = ours.state(expected)
    least = min(
        np.linalg.eigvalsh(full_curvature(end, n).sparse().toarray())[0]
        for n in range(len(problem.x))
    )
    if least < 0.05:
        return None
    found = theirs.infer(inference)
    assert found.converged
    start, reached, settled = (
        float(np.linalg.norm(np.concatenate(state.slopes(), axis=1)))
        for state in (end.clamped.feedforward(), theirs.state(found), end)
    )
    rounding = BITS * float(np.finfo(backend.dtype).eps) * float(np.linalg.norm(end.hidden[0]))
    apart = float(np.linalg.norm(theirs.hidden(found) - ours.hidden(expected)))
    return max(
        reached / (inference.residual * start + rounding),
        apart / ((reached + settled) / (least / 2) + rounding),
    )


def equilibrium_off(backend, problem):
    """The equilibrium of a linear network, as far as its conditioning allows."""
    theirs, ours = both(backend, problem)
    found, expected = (asked.infer(ExactInference()) for asked in (theirs, ours))
    assert found.converged
    end = ours.state(expected)
    condition = 1.0
    if end.hidden:
        condition = max(
            np.linalg.cond(full_curvature(end, n).sparse().toarray()) for n in range(len(problem.x))
        )
    return {
        part: off(theirs.host(*a), ours.host(*b), backend.dtype) / condition
        for part, a, b in (
            ("activities", found.activities, expected.activities),
            ("energies", [found.energies], [expected.energies]),
        )
    }


def hessians_off(backend, problem):
    """Products with both Hessians; that of the energy at an equilibrium of the reference."""
    theirs, ours = both(backend, problem)
    size = sum(parameter.size for parameter in problem.parameters)
    vectors = np.random.default_rng(0).standard_normal((3, size))
    reached = ours.infer(GaussNewtonInference(residual=1e-12, max_steps=200))
    end = [*reached.activities[:-1], ours.problem.y]
    apart = {}
    for asked in (theirs, ours):
        x, y, *precision = asked.batch
        z = [asked.backend.to_device(activity) for activity in end]
        for objective, hessian in (
            ("loss", asked.model.loss_hessian(x, y, *precision)),
            ("energy", asked.model.energy_hessian(z, *precision)),
        ):
            apart.setdefault(objective, []).append(
                asked.host(hessian.product(asked.backend.to_device(vectors)))
            )
    return {objective: off(*pair, backend.dtype) for objective, pair in apart.items()}


def unrolled_off(backend, problem, steps):
    problem = problem.unmasked()
    size = sum(parameter.size for parameter in problem.parameters)
    vectors = np.random.default_rng(0).standard_normal((2, size))
    theirs, ours = both(backend, problem)
    products = [
        asked.host(
            asked.model.unrolled_hessian(*asked.batch, steps, 0.1).product(
                asked.backend.to_device(vectors)
            )
        )
        for asked in (theirs, ours)
    ]
    return off(*products, backend.dtype)


RULES = {
    "backpropagation": {"objective": "loss", "optimiser": Sgd()},
    "predictive coding": {"objective": "energy", "optimiser": Sgd()},
    "with Adam": {"objective": "energy", "optimiser": Adam(epsilon=1e-3)},
}


def training_off(backend, problem, rule):
    """A few steps on batches, each its own gradient to ``scale`` and rate."""
    inference = GradientInference(step=0.1, max_steps=5, residual=1e-9)
    asked = TrainingSettings(**rule, learning_rate=0.1, scale=0.5, inference=inference)
    rows = np.random.default_rng(0).integers(0, len(problem.x), (4, 3))
    trained = []
    for one in both(backend, problem):
        x, y, *precision = one.batch
        trainer = one.backend.trainer(one.model, x, y, asked, *precision)
        trained.append((trainer.run(4, rows, every=2), trainer.parameters()))
    (found, ended), (expected, due) = trained
    apart = {
        part: off([getattr(found, part)], [getattr(expected, part)], backend.dtype)
        for part in (
            "losses",
            "energies",
            "recorded",
            "gradient_norms",
            "parameter_norms",
            "inference_steps",
            "residuals",
        )
    }
    return apart | {"parameters": off(ended, due, backend.dtype)}
