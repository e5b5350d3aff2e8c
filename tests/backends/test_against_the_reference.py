"""Every other backend against the reference: whatever it offers, over random networks.

A backend is compared by its name in the registry, and as far as its capabilities go. One that is
not installed here, or lacks its library, is skipped with the reason.
"""

from dataclasses import dataclass, replace
from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from torch_layered import CONVOLVED, DENSE, draw, networks

from pcbench.backends import (
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
from pcbench.backends.numpy import NumpyBackend
from pcbench.backends.numpy.curvature import full_curvature
from pcbench.backends.numpy.model import NumpyModel
from pcbench.backends.numpy.state import Clamped
from pcbench.errors import UsageError
from pcbench.registry import BACKENDS

REFERENCE = NumpyBackend()
OTHERS = ("torch", "jax")
DTYPES = ("float64", "float32")
SMOOTH = ("identity", "tanh", "silu")
# In float32 a potential may round across the kink of a rectifier, or of a maximum, and all that
# comes after it changes; in float64 none of some thousand comes as near.
DRAWN = {
    "float64": networks(gain=0.7),
    "float32": networks(SMOOTH, (DENSE,), gain=0.7),
}
few = settings(max_examples=8, deadline=None)
# Twelve bits: small networks lose few, wrong formulas all.
BITS = 2.0**12

other_backends = pytest.mark.parametrize(
    ("name", "dtype"), [(name, dtype) for name in OTHERS for dtype in DTYPES]
)
in_float64 = pytest.mark.parametrize(("name", "dtype"), [(name, "float64") for name in OTHERS])


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


def offers(backend, network):
    """Whether it takes such a network at all."""
    needed = set()
    if network.activation != "identity" or network.bias:
        needed.add(Capability.NONLINEAR)
    if network.convolutions:
        needed.add(Capability.CONVOLUTIONS)
    return needed <= backend.capabilities


@dataclass(frozen=True)
class Asked:
    """A problem put to a backend; precision is only mentioned if it is offered."""

    backend: object
    problem: object

    @classmethod
    def of(cls, backend, problem):
        if Capability.PRECISION not in backend.capabilities:
            problem = problem.unmasked()
        return cls(backend, problem)

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
    asked = Asked.of(backend, problem)
    return asked, Asked(REFERENCE, asked.problem)


def off(ours, theirs, dtype):
    """How far answers are apart, in units of what the dtype leaves between right ones."""
    assert [a.shape for a in ours] == [b.shape for b in theirs]
    ours, theirs = (np.concatenate([a.ravel() for a in each] or [[0.0]]) for each in (ours, theirs))
    size = max(float(np.linalg.norm(theirs)), 1e-2)
    return float(np.linalg.norm(ours - theirs)) / size / (BITS * float(np.finfo(dtype).eps))


# --- What needs no inference


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


@other_backends
@few
@given(data=st.data())
def test_values_and_gradients(name, dtype, data):
    backend = other(name, dtype)
    problem = draw(*data.draw(DRAWN[dtype]), dtype=dtype).masked()
    if not offers(backend, problem.network):
        return
    assert max(values_off(backend, problem).values()) < 1


# --- Inference


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


@other_backends
@pytest.mark.parametrize("engine", STEPPING)
@few
@given(data=st.data())
def test_steps_of_inference(name, dtype, engine, data):
    backend = other(name, dtype, STEPPING[engine].capability)
    drawn = DRAWN[dtype]
    if engine == "halving":
        drawn = networks(SMOOTH, (DENSE,), min_layers=2, gain=0.7)
    problem = draw(*data.draw(drawn), dtype=dtype).masked()
    if not offers(backend, problem.network):
        return
    if engine == "halving" and dtype == "float32":
        return  # whether an energy rose is a matter of one bit, where it hardly did
    assert max(steps_off(backend, problem, STEPPING[engine]).values()) < 1


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


@in_float64
@pytest.mark.parametrize("engine", ARRIVING)
@settings(few, max_examples=4)
@given(arguments=networks(("tanh", "silu"), (DENSE,), min_layers=2, max_layers=3, gain=0.5))
def test_ends_of_inference(name, dtype, engine, arguments):
    backend = other(name, dtype, ARRIVING[engine].capability, Capability.NONLINEAR)
    apart = ends_off(backend, draw(*arguments).masked(), ARRIVING[engine])
    assert apart is None or apart < 1


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


@other_backends
@few
@given(arguments=networks(("identity",), (DENSE,), gain=1.2))
def test_the_equilibrium_of_a_linear_network(name, dtype, arguments):
    backend = other(name, dtype, Capability.EXACT_INFERENCE)
    problem = draw(*arguments, dtype=dtype).masked()
    if problem.network.is_linear:
        assert max(equilibrium_off(backend, problem).values()) < 1


# --- Hessians


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


@in_float64
@few
@given(arguments=networks(SMOOTH, gain=0.5))
def test_hessians(name, dtype, arguments):
    backend = other(name, dtype, Capability.HESSIAN)
    problem = draw(*arguments).masked()
    if offers(backend, problem.network):
        assert max(hessians_off(backend, problem).values()) < 1


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


@in_float64
@settings(few, max_examples=5)
@given(arguments=networks(gain=0.7), steps=st.integers(0, 4))
def test_hessians_through_steps_of_inference(name, dtype, arguments, steps):
    backend = other(name, dtype, Capability.UNROLLED_HESSIAN)
    problem = draw(*arguments)
    if offers(backend, problem.network):
        assert unrolled_off(backend, problem, steps) < 1


# --- Training


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
        trainer = one.model.trainer(x, y, asked, *precision)
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


@in_float64
@pytest.mark.parametrize("rule", RULES)
@settings(few, max_examples=4)
@given(arguments=networks(SMOOTH, (DENSE, CONVOLVED[0]), min_layers=2, gain=0.7))
def test_training(name, dtype, rule, arguments):
    backend = other(name, dtype, Capability.TRAINING, Capability.GRADIENT_INFERENCE)
    problem = draw(*arguments).masked()
    if offers(backend, problem.network):
        assert max(training_off(backend, problem, RULES[rule]).values()) < 1


# --- Would a mistake be seen?


def changed(method, change):
    """A method of the reference's models whose answer is changed."""
    sound = getattr(NumpyModel, method)
    return {method: lambda self, *given: change(sound(self, *given))}


def asked_otherwise(method, change):
    """One that is asked something else."""
    sound = getattr(NumpyModel, method)
    return {method: lambda self, *given: sound(self, *change(*given))}


def with_settings(**changes):
    """Inference, or training, with other settings."""

    def change(x, y, settings, *precision):
        if isinstance(settings, TrainingSettings):
            return x, y, replace(settings, **changes), *precision
        return x, y, settings.model_copy(update=changes), *precision

    return change


def doubled(answers):
    return [2 * answer for answer in answers]


def faulty(methods):
    """The reference with a mistake."""
    model = type("FaultyModel", (NumpyModel,), methods)

    class Faulty(NumpyBackend):
        def build(self, network, parameters):
            return model(super().build(network, parameters).layers)

    return Faulty()


WHOLE = draw("tanh", "post", True, DENSE, (4, 5, 3, 2), 4, 0, 0.5)
TANH = WHOLE.masked()
LINEAR = draw("identity", "post", False, DENSE, (4, 5, 3, 2), 4, 0, 0.7).masked()
UNSEEN = lambda x, y, settings, precision: (x, np.nan_to_num(y), settings)  # noqa: E731

MISTAKES = {
    "the sum for the mean": (
        changed("loss", lambda loss: 4 * loss),
        lambda backend: values_off(backend, TANH)["loss"],
    ),
    "a bias that is left out": (
        changed("predict", lambda prediction: prediction - 0.1),
        lambda backend: values_off(backend, TANH)["prediction"],
    ),
    "the missing half": (
        changed("energies", lambda energies: 2 * energies),
        lambda backend: values_off(backend, TANH)["energies"],
    ),
    "a factor of two in backpropagation": (
        changed("loss_gradients", doubled),
        lambda backend: values_off(backend, TANH)["loss gradients"],
    ),
    "a factor of two in the local gradients": (
        changed("energy_gradients", doubled),
        lambda backend: values_off(backend, TANH)["energy gradients"],
    ),
    "precision that is not looked at": (
        asked_otherwise("energies", lambda z, precision: ([*z[:-1], np.nan_to_num(z[-1])],)),
        lambda backend: values_off(backend, TANH)["energies"],
    ),
    "a step that is too long": (
        asked_otherwise("infer", with_settings(step=0.06)),
        lambda backend: steps_off(backend, TANH, STEPPING["gradient"])["activities"],
    ),
    "errors moved by too much": (
        asked_otherwise("infer", with_settings(step=0.06)),
        lambda backend: steps_off(backend, TANH, STEPPING["error"])["activities"],
    ),
    "inference that stops early": (
        asked_otherwise("infer", with_settings(residual=1e-2)),
        lambda backend: ends_off(backend, TANH, ARRIVING["gradient"]),
    ),
    "another equilibrium": (
        asked_otherwise("infer", UNSEEN),
        lambda backend: ends_off(backend, TANH, ARRIVING["gauss_newton"]),
    ),
    "an output that is not observed, and pulls": (
        asked_otherwise("infer", UNSEEN),
        lambda backend: equilibrium_off(backend, LINEAR)["activities"],
    ),
    "the Hessian of the loss for that of the energy": (
        {
            "energy_hessian": lambda self, z, precision: self.loss_hessian(z[0], z[-1], precision),
        },
        lambda backend: hessians_off(backend, TANH)["energy"],
    ),
    "one step too few to differentiate": (
        asked_otherwise("unrolled_hessian", lambda x, y, steps, step: (x, y, steps - 1, step)),
        lambda backend: unrolled_off(backend, WHOLE, 3),
    ),
    "a scale that is left out": (
        asked_otherwise("trainer", with_settings(scale=1.0)),
        lambda backend: training_off(backend, TANH, RULES["predictive coding"])["parameters"],
    ),
    "the usual epsilon, whatever was asked": (
        asked_otherwise("trainer", with_settings(optimiser=Adam())),
        lambda backend: training_off(backend, TANH, RULES["with Adam"])["parameters"],
    ),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_told_from_rounding_by_far(mistake):
    methods, compare = MISTAKES[mistake]
    assert compare(REFERENCE) < 1
    assert compare(faulty(methods)) > 10


def test_a_backend_that_is_not_there_is_skipped_with_the_reason():
    with pytest.raises(pytest.skip.Exception, match="unknown backend 'none'"):
        other("none", "float64")
