"""Mistakes that an answer leaves behind, or takes from others; something is made of nothing."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from pcbench.audit.tables import Question, building_faults, faults
from pcbench.audit.traits import Trait
from pcbench.audit.wrappers import Host
from pcbench.contract import Capability
from pcbench.contract.parts import Part


def _in_place(name: str, factor: float, *, copied: bool = False) -> Callable[[Question], Any]:
    """Answer, and scale an argument where it lies: the caller's, if arrays can be changed.

    The answer may be to a copy of the argument.
    """

    def wrong(q: Question) -> Any:
        found = q.ask(**{name: getattr(q, name)} if copied else {})
        array = q.given[name][0] if name == "activities" else q.given[name]
        array *= factor
        return found

    return wrong


def _largest_batch_remembered(q: Question) -> list[Host]:
    """Gradients are divided by the size of the largest batch there was, not by this one's."""
    memory = q.model.memory
    memory["largest"] = max(memory.get("largest", 1), q.samples)
    return [q.samples / float(memory["largest"]) * gradient for gradient in q.ask()]


def _accumulated(q: Question) -> list[Host]:
    """Gradients of the loss are added to those of the call before: nobody set them to zero."""
    found, kept = q.ask(), vars(q.model)
    before = kept.get("gradients_before") or [0 * gradient for gradient in found]
    kept["gradients_before"] = [old + new for old, new in zip(before, found, strict=True)]
    return list(kept["gradients_before"])


def _dropout(q: Question) -> Any:
    """Dropout was left on: every prediction lacks some of its outputs, each time others."""
    rng = q.model.memory.setdefault("rng", np.random.default_rng(0))
    found = q.ask()
    return found * (rng.random(found.shape) < 0.9) / 0.9


FAULTS = (
    *faults(Part.PURITY, "predict")(
        InputScaledInPlace=(
            "The forward pass works in place: the caller's input is not what it was.",
            _in_place("x", 1.01),
        ),
        DropoutLeftOn=_dropout,
    ),
    *faults(Part.PURITY, "infer")(
        InferenceInPlace=(
            "Inference works in place: the caller's target is not what it was.",
            _in_place("y", 1.01),
        )
    ),
    *faults(Part.PURITY, "energy_gradients")(
        ActivitiesInPlace=(
            "Local gradients scale the activities that they are given.",
            _in_place("activities", 1.01),
        )
    ),
    *faults(Part.PURITY, "energy_gradients", needs={Capability.PRECISION})(
        PrecisionInPlace=(
            "Local gradients scale the precision that they are given.",
            _in_place("precision", 0.5),
        )
    ),
    *faults(Part.PURITY, "trainer")(
        DataInPlace=(
            "A trainer standardises the caller's targets where they lie, once it has its own.",
            _in_place("y", 0.5, copied=True),
        ),
        TrainingFromTheClock=(
            "Training adds noise that is seeded by the clock, of the size of rounding.",
            lambda q: q.ask(
                x=q.x
                * (1 + 1e-15 * np.random.default_rng(time.time_ns()).standard_normal(q.x.shape))
            ),
        ),
    ),
    *faults(Part.PURITY, "loss_gradients", "energy_gradients", needs={Trait.OTHER_BATCH})(
        LargestBatchRemembered=_largest_batch_remembered
    ),
    *faults(Part.PURITY, "loss_gradients", needs={Trait.ASKED_AGAIN})(
        GradientsAccumulated=_accumulated
    ),
    *faults(Part.ROBUSTNESS, "predict")(
        SamplesWithNanDropped=(
            "Samples with NaN in their input are left out, and predictions have a row less.",
            lambda q: q.ask(x=q.x[np.isfinite(q.x).all(axis=-1)]),
        ),
        NanInputIsZero=(
            "NaN in an input is replaced by zero, as in the cleaning of data.",
            lambda q: q.ask(x=np.nan_to_num(q.x)),
        ),
    ),
    *building_faults(Part.ROBUSTNESS, needs={Trait.BIAS})(
        NanBiasIsZero=(
            "NaN in a bias is replaced by zero when the model is built.",
            lambda n, p: (n, [*p[: n.n_layers], *map(np.nan_to_num, p[n.n_layers :])]),
        )
    ),
    *faults(Part.ROBUSTNESS, "loss", "loss_gradients", needs={Capability.PRECISION})(
        NanTargetIsUnobserved=(
            "A target that is NaN is taken for one that is not observed, whatever its precision "
            "says.",
            lambda q: q.ask(precision=np.where(np.isnan(q.y), 0, q.precision)),
        )
    ),
    *faults(Part.ROBUSTNESS, "loss", when=lambda q: not q.samples)(
        NothingIsLost=(
            "The loss of no samples is zero, against a division by zero.",
            lambda q: np.zeros(q.model.parameters[0].shape[: int(q.replicated)]),
        )
    ),
    *faults(Part.ROBUSTNESS, "infer")(
        NanHasConverged=(
            "Inference goes on while the residual is too large, and NaN is not too large.",
            lambda q: replace(
                reached := q.ask(),
                converged=reached.converged or not np.isfinite(reached.residual).all(),
            ),
        )
    ),
)
