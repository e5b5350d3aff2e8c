"""Holding a backend against the reference is worth something: mistakes are told from rounding."""

from dataclasses import replace

import numpy as np
import pytest

from pcbench.backends.numpy import NumpyBackend
from pcbench.backends.numpy.model import NumpyModel
from pcbench.contract import Adam
from tests.backends.reference_comparisons import (
    ARRIVING,
    REFERENCE,
    RULES,
    STEPPING,
    ends_off,
    equilibrium_off,
    hessians_off,
    other,
    steps_off,
    training_off,
    unrolled_off,
    values_off,
)
from tests.backends.torch.layered import DENSE, draw


def changed(method, change):
    """A method of the reference's models whose answer is changed."""
    sound = getattr(NumpyModel, method)
    return {method: lambda self, *given: change(sound(self, *given))}


def asked_otherwise(method, change):
    """One that is asked something else."""
    sound = getattr(NumpyModel, method)
    return {method: lambda self, *given: sound(self, *change(*given))}


def trained_otherwise(**changes):
    """Trainers that are asked to learn by other settings."""

    def trainer(self, model, x, y, settings, *precision):
        return NumpyBackend.trainer(self, model, x, y, replace(settings, **changes), *precision)

    return {"trainer": trainer}


def with_settings(**changes):
    """Inference with other settings."""

    def change(x, y, settings, *precision):
        return x, y, settings.model_copy(update=changes), *precision

    return change


def doubled(answers):
    return [2 * answer for answer in answers]


def faulty(methods):
    """The reference with a mistake."""
    own = {name: method for name, method in methods.items() if name == "trainer"}
    rest = {name: method for name, method in methods.items() if name not in own}
    model = type("FaultyModel", (NumpyModel,), rest)

    def build(self, network, parameters):
        return model(NumpyBackend.build(self, network, parameters).layers)

    return type("Faulty", (NumpyBackend,), {"build": build, **own})()


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
        trained_otherwise(scale=1.0),
        lambda backend: training_off(backend, TANH, RULES["predictive coding"])["parameters"],
    ),
    "the usual epsilon, whatever was asked": (
        trained_otherwise(optimiser=Adam()),
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
