"""Mistakes with the precision of outputs, and with the precision of numbers."""

from __future__ import annotations

from typing import Any

import numpy as np

from pcbench.audit.faults.inference import hidden
from pcbench.audit.tables import Question, building_faults, faults
from pcbench.audit.wrappers import FaultyBackend, Host
from pcbench.contract import Capability
from pcbench.contract.parts import Part

_SMALL = 0.02
_NEEDS = frozenset({Capability.PRECISION})


def _unobserved_are_zeros(q: Question) -> Any:
    """Weigh all outputs alike; a target that is none is zero."""
    return q.ask(y=np.nan_to_num(q.y), precision=np.ones_like(q.precision))


def _unobserved_are_zero_activities(q: Question) -> Any:
    *below, last = q.activities
    filled = [*below, np.nan_to_num(last)]
    return q.ask(activities=filled, precision=np.ones_like(q.precision))


def _at_most_one(q: Question) -> Any:
    return q.ask(precision=q.precision.clip(max=1))


FAULTS = (
    *faults(Part.PRECISION, "infer", needs=_NEEDS)(
        UnobservedAreZeros=(
            "Inference takes outputs that are not observed for observed ones with a target of "
            "zero.",
            _unobserved_are_zeros,
        ),
        UnobservedCountALittle=(
            "Inference gives outputs that are not observed a precision of 0.01, against divisions "
            "by 0.",
            lambda q: q.ask(y=np.nan_to_num(q.y), precision=q.precision.clip(min=0.01)),
        ),
        PrecisionIsADeviation=(
            "The precision is squared: it is taken for the weight of an error, not of its square.",
            lambda q: q.ask(precision=q.precision**2),
        ),
        InferencePrecisionAtMostOne=(
            "Inference takes a precision above 1 for 1, and is stable at any step.",
            _at_most_one,
        ),
    ),
    *faults(Part.PRECISION, "loss", "loss_gradients", needs=_NEEDS)(
        LossOfUnobserved=(
            "The loss counts outputs that are not observed, with a target of zero.",
            _unobserved_are_zeros,
        ),
        PrecisionAtMostOne=(
            "The loss and its gradients take a precision above 1 for 1.",
            _at_most_one,
        ),
        SmallPrecisionIsNone=(
            "The loss and its gradients take a precision below 0.02 for 0.",
            lambda q: q.ask(precision=np.where(q.precision < _SMALL, 0.0, q.precision)),
        ),
    ),
    *faults(Part.PRECISION, "loss", needs=_NEEDS)(
        LossOverObserved=(
            "The loss is a mean over the observed outputs, where one over samples is due.",
            lambda q: q.ask() / q.precision.mean(),
        ),
        LossOverObservedSamples=(
            "The loss is a mean over the samples that have an observed output, and not over all.",
            lambda q: q.ask() / (q.precision > 0).any(axis=-1).mean(),
        ),
    ),
    *faults(Part.PRECISION, "energy_gradients", needs=_NEEDS)(
        UnobservedPullAtWeights=(
            "Local gradients of the last layer see outputs that are not observed, with a target "
            "of 0.",
            _unobserved_are_zero_activities,
        )
    ),
    *faults(Part.PRECISION, "trainer", needs=_NEEDS)(
        TrainingSeesUnobserved=(
            "Training sees outputs that are not observed, with a target of zero.",
            _unobserved_are_zeros,
        ),
        TrainingPrecisionAtMostOne=("Training takes a precision above 1 for 1.", _at_most_one),
    ),
    *faults(Part.PRECISION, "loss", "loss_gradients", needs=_NEEDS | {Capability.REPLICAS})(
        ReplicasSeeUnobserved=(
            "With replicas, the loss and its gradients count what is not observed, with a target "
            "of 0.",
            _unobserved_are_zeros,
        )
    ),
    *faults(Part.PRECISION, "loss_hessian", needs=_NEEDS)(
        HessianPrecisionAtMostOne=(
            "Hessians of the loss take a precision above 1 for 1.",
            _at_most_one,
        )
    ),
    *faults(Part.PRECISION, "energy_hessian", needs=_NEEDS)(
        EnergyHessianSeesUnobserved=(
            "Hessians of the energy weigh all outputs alike, observed or not.",
            _unobserved_are_zero_activities,
        )
    ),
)


def single(array: Host) -> Host:
    """Round to float32."""
    return np.asarray(array, np.float32).astype(np.float64)


def tensor_float(array: Host) -> Host:
    """Round to TF32, whose mantissa has 10 bits and a hidden one."""
    mantissa, exponent = np.frexp(array)
    return np.asarray(np.ldexp(np.rint(np.ldexp(mantissa, 11)), exponent - 11))


class SingleData(FaultyBackend):
    """Inputs and targets are staged in float32, the default of the library."""

    part = Part.DTYPE

    def to_device(self, array: Host) -> Any:
        """Round them."""
        return super().to_device(single(array))


def _factors_in_tensor_floats(q: Question) -> Any:
    """TF32 is left on: factors of matrix products have a mantissa of 10 bits."""
    if q.method == "energy_gradients":
        return [tensor_float(gradient) for gradient in q.ask()]
    return q.ask(x=tensor_float(q.x))


DTYPES = (
    SingleData,
    *building_faults(Part.DTYPE)(
        SingleWeights=(
            "Weights pass through float32 when the model is built.",
            lambda n, p: (n, map(single, p)),
        )
    ),
    *faults(Part.DTYPE, "predict", "loss")(
        SinglePrediction=("The forward pass is in float32.", lambda q: single(q.ask()))
    ),
    *faults(Part.DTYPE, "infer")(
        SingleInference=("Activities are kept in float32 during inference.", hidden(single))
    ),
    *faults(Part.DTYPE, "loss_gradients", "energy_gradients")(
        SingleGradients=(
            "Gradients are accumulated in float32.",
            lambda q: [single(gradient) for gradient in q.ask()],
        )
    ),
    *faults(Part.DTYPE, "energy_hessian")(
        SingleHessian=(
            "Hessian products are accumulated in float32.",
            lambda q: q.multiplied(lambda product, vectors: single(product(vectors))),
        )
    ),
    *faults(Part.DTYPE, "predict", "loss_gradients", "energy_gradients")(
        TensorFloats=_factors_in_tensor_floats
    ),
)
