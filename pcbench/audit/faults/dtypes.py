"""Mistakes in precision: a lower one than was asked for, somewhere on the way."""

from __future__ import annotations

from typing import Any

import numpy as np

from pcbench.audit.faults.inference import hidden
from pcbench.audit.tables import Question, building_faults, faults
from pcbench.audit.wrappers import FaultyBackend, Host
from pcbench.contract.parts import Part


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


def _single_gradients(q: Question) -> list[Host]:
    return [single(gradient) for gradient in q.ask()]


def _factors_in_tensor_floats(q: Question) -> list[Host] | Host:
    """Round the input of the first product; of local gradients, what the last product makes."""
    if q.method == "energy_gradients":
        return [tensor_float(gradient) for gradient in q.ask()]
    found: list[Host] | Host = q.ask(x=tensor_float(q.x))
    return found


FAULTS = (
    SingleData,
    *building_faults(Part.DTYPE)(
        SingleWeights=(
            "Weights pass through float32 when the model is built.",
            lambda b: b.build(parameters=map(single, b.parameters)),
        )
    ),
    *faults(Part.DTYPE, "predict", "loss")(
        SinglePrediction=("The forward pass is in float32.", lambda q: single(q.ask()))
    ),
    *faults(Part.DTYPE, "infer")(
        SingleInference=("Activities are kept in float32 during inference.", hidden(single))
    ),
    *faults(Part.DTYPE, "loss_gradients", "energy_gradients")(
        SingleGradients=("Gradients are accumulated in float32.", _single_gradients)
    ),
    *faults(Part.DTYPE, "energy_hessian")(
        SingleHessian=(
            "Hessian products are accumulated in float32.",
            lambda q: q.multiplied(lambda product, vectors: single(product(vectors))),
        )
    ),
    *faults(Part.DTYPE, "predict", "loss_gradients", "energy_gradients")(
        TensorFloats=(
            "TF32 is left on: factors of matrix products have a mantissa of 10 bits.",
            _factors_in_tensor_floats,
        )
    ),
)
