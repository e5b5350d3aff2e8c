"""What a suite may write about leaving a saddle by training."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal

from pydantic import Field, NonNegativeInt, PositiveFloat, PositiveInt

from pcbench.case import CaseParameters
from pcbench.contract import ExactInference, InferenceSettings, Optimiser, Sgd
from pcbench.data import DataField, DatasetParameters
from pcbench.data.base import Count
from pcbench.judges.training.curves import Scaling
from pcbench.networks import NetworkParameters


class Stop(CaseParameters):
    """When a replica's training ends before its budget is spent; any of these ends it."""

    escaped: bool = Field(True, description="Stop once the run has left the saddle.")
    loss: PositiveFloat | None = Field(
        None, description="Stop once the training loss, averaged as for the escape, is below this."
    )
    test_loss: PositiveFloat | None = Field(
        None, description="Stop once the test loss is below this, as the paper does for its chains."
    )
    epoch_gain: PositiveFloat | None = Field(
        None,
        description="Stop after an epoch in which the mean loss fell by less than this, but not "
        "before the run has left the saddle. For its other networks the paper uses 1e-3 of the "
        "mean squared error over outputs: that is d_L / 2 times as much here, 5e-3 with ten "
        "classes.",
    )


class Rates(CaseParameters):
    """A step size for each scaling: the published one's of PC is that of another objective."""

    matched: PositiveFloat
    published: PositiveFloat


class Training(CaseParameters):
    """How both learners are trained: all but the objective is the same."""

    learning_rate: PositiveFloat | Rates = Field(
        description="η, the same for both learners; or one for each scaling."
    )
    optimiser: Optimiser = Sgd()
    batch: PositiveInt | None = Field(
        64, description="Samples in a step, shuffled for each seed and epoch; null for all."
    )
    steps: PositiveInt | None = Field(None, description="Most steps.")
    epochs: PositiveInt | None = Field(None, description="Or: most epochs.")
    look: PositiveInt = Field(
        50, description="Number of steps after which stopping rules and test set are looked at."
    )
    every: PositiveInt = Field(10, description="Number of steps after which norms are recorded.")
    stop: Stop = Stop()

    def contradictions(self) -> Iterator[str]:
        """Say which settings do not fit together."""
        if (self.steps is None) == (self.epochs is None):
            yield "give either training.steps or training.epochs"

    def rate(self, scaling: Scaling) -> float:
        """Return ``η``."""
        if isinstance(self.learning_rate, Rates):
            return float(getattr(self.learning_rate, scaling))
        return self.learning_rate

    def budget(self, epoch: int) -> int:
        """Return the budget in steps, with so many steps an epoch."""
        return self.steps if self.steps is not None else (self.epochs or 0) * epoch


class Escape(CaseParameters):
    """What counts as having left the saddle."""

    fraction: float = Field(
        0.05,
        gt=0,
        lt=1,
        description="A run has escaped once the loss has fallen by this fraction of the loss at "
        "the saddle. One-hot targets of ten classes have a plateau at 0.1, where the network "
        "knows only their mean.",
    )
    window: PositiveInt = Field(20, description="Number of steps over which the loss is averaged.")


class Parameters(CaseParameters):
    """What a suite may write under ``kind: origin_escape``."""

    data: DataField
    test: Count | None = Field(
        None,
        description="Number of test samples: of the test split, or drawn separately if the data "
        "have no splits.",
    )
    network: NetworkParameters
    seeds: Count = Field(
        8,
        ge=5,
        description="Number of seeds, each with its initial weights and shuffles; each trains "
        "both learners.",
    )
    training: Training
    inference: InferenceSettings = ExactInference()
    scaling: Scaling | Literal["both"] = Field(
        "matched",
        description="matched: both objectives carry 1/(2N). published: as in the paper's "
        "notebooks, BP on a mean over batch and outputs, PC on a sum over the batch.",
    )
    escape: Escape = Escape()
    sooner: bool = Field(
        True,
        description="Whether PC must leave in fewer steps and, with two hidden layers or more, "
        "start with the larger gradient; if not, both are claims that are only reported.",
    )
    judged: NonNegativeInt = Field(
        3,
        description="How many of the first training steps are compared with the theory, one by "
        "one.",
    )
    trajectories: bool = Field(
        False,
        description="Keep every parameter at every step; for networks with up to 16 parameters.",
    )

    def contradictions(self) -> Iterator[str]:
        """Say which settings do not fit together."""
        batch = self.training.batch
        if batch is not None and batch > self.data.samples:
            yield (
                f"training.batch is {batch} but data.samples only {self.data.samples}; raise "
                "data.samples or lower training.batch"
            )
        rate = self.training.learning_rate
        if isinstance(rate, Rates) and self.scaling != "both":
            other = "published" if self.scaling == "matched" else "matched"
            yield (
                f"training.learning_rate.{other} goes unused with scaling: {self.scaling}; write "
                "one number for learning_rate, or scaling: both"
            )
        if self.network.initialisation.name == "saved" and self.training.batch is None:
            yield (
                "a saved point is the same for every seed, and without batches so is every run; "
                "give training.batch, or an initialisation that is drawn"
            )
        if self.network.hidden == () and not self.network.convolutions:
            yield "a network without hidden layers has no saddle; give hidden layers to network"
        name = self.network.initialisation.name
        if name in ("origin", "penultimate_only", "zero_rank"):
            yield (
                f"initialisation {name} is a saddle itself, and no learner leaves it; begin near "
                "it, with near_origin"
            )
        linear = self.network.activation == "identity" and not self.network.bias
        exact = isinstance(self.inference, ExactInference)
        if exact and not (linear and not self.network.convolutions):
            yield (
                "inference: exact solves linear networks without biases; write another engine, "
                "such as inference: {engine: gauss_newton}"
            )
        if self.test is not None and getattr(self.data, "split", "train") == "test":
            yield "test draws from the test split, which data.split trains on; write split: train"
        if self.test is not None and self.data.name == "low_rank_matrix":
            yield "another draw of low_rank_matrix is another matrix; leave test out"
        steps = self.training.steps
        if steps is not None and self.escape.window > steps:
            yield (
                f"escape.window is {self.escape.window} but training.steps only {steps}: no loss "
                "would ever be smoothed; raise training.steps or lower escape.window"
            )
        if self.training.stop.test_loss is not None and self.test is None:
            yield "training.stop.test_loss needs samples to test on; give test, their number"

    @property
    def test_data(self) -> DatasetParameters:
        """The same data, of the test split where there is one."""
        changes: dict[str, Any] = {"samples": self.test}
        if "split" in type(self.data).model_fields:
            changes["split"] = "test"
        return self.data.model_copy(update=changes)

    @property
    def scalings(self) -> tuple[Scaling, ...]:
        """All scalings asked for, the fair one first."""
        return ("matched", "published") if self.scaling == "both" else (self.scaling,)
