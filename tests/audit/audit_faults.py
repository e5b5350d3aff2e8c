"""Faults for every thing that can become of one, and suites for them."""

from dataclasses import replace

import numpy as np

from pcbench.audit import Fault, FaultyBackend, FaultyModel, Part, Trait, audit_suites
from pcbench.contract import BackendUnavailableError
from pcbench.suite import load_suites
from tests.helpers.toy_suites import ENERGY, ORIGIN, write_suite


class DoubledLoss(FaultyModel):
    """The loss is doubled."""

    part = Part.LOSS

    def loss(self, x, y, precision=None):
        return self.changed(super().loss(x, y, precision), lambda loss: 2 * loss)


class Harmless(FaultyModel):
    """Nothing is wrong: the loss goes to the host and back."""

    part = Part.LOSS

    def loss(self, x, y, precision=None):
        return self.changed(super().loss(x, y, precision), lambda loss: loss)


class MiscountedPasses(FaultyModel):
    """The price is wrong, which no check of the toy suite looks at."""

    part = Part.INFERENCE_ACCOUNT

    def infer(self, x, y, settings, precision=None):
        return replace(super().infer(x, y, settings, precision), passes=123.0)


class Breaks(FaultyModel):
    """The prediction raises an exception."""

    part = Part.PREDICTION

    def predict(self, x):
        raise RuntimeError("shapes do not fit")


class OnlyWithAMask(FaultyModel):
    """The loss is doubled where outputs are weighted."""

    part = Part.PRECISION
    needs = frozenset({"precision"})

    def loss(self, x, y, precision=None):
        honest = super().loss(x, y, precision)
        return honest if precision is None else self.changed(honest, lambda loss: 2 * loss)


class OnlyWithBiases(FaultyBackend):
    """Biases are lost."""

    part = Part.BIASES
    needs = frozenset({Trait.BIAS})

    def build(self, network, parameters):
        layers = network.n_layers
        zeros = [0 * bias for bias in parameters[layers:]]
        return super().build(network, [*parameters[:layers], *zeros])


class Refuses(FaultyModel):
    """Hessians are said to be missing."""

    part = Part.LOSS_HESSIAN

    def loss_hessian(self, x, y, precision=None):
        raise BackendUnavailableError("no Hessians today")


class HalfOfTheSamples(FaultyBackend):
    """Data are staged with every second number set to zero."""

    part = Part.PURITY

    def to_device(self, array):
        kept = np.array(array)
        kept.reshape(-1)[1::2] = 0.0
        return super().to_device(kept)


def suite(tmp_path, *cases, covers=None, name="toy"):
    """Load a suite of cases: a small one of energies and one at the origin."""
    path = write_suite(tmp_path / f"{name}.yaml", *(cases or (ENERGY, ORIGIN)), name=name)
    if covers is not None:
        text = path.read_text(encoding="utf-8")
        path.write_text(f"covers: [{', '.join(covers)}]\n{text}", encoding="utf-8")
    return path


def audited(tmp_path, *mistaken, cases=(), covers=None, **settings):
    """Audit a toy suite with these faults."""
    plan = load_suites([suite(tmp_path, *cases, covers=covers)])
    return audit_suites(plan, [Fault.of(each) for each in mistaken], **settings)
