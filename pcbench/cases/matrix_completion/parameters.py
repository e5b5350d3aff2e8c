"""What a suite may ask of matrix completion, and how a learner may train from a saddle."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, get_args

from pydantic import Field, NonNegativeInt, PositiveFloat, PositiveInt, model_validator

from pcbench.case import CaseParameters
from pcbench.contract import ExactInference, GaussNewtonInference, InferenceSettings
from pcbench.data.base import MOST
from pcbench.data.low_rank_matrix import LowRankMatrixParameters
from pcbench.judges.claims import FEWEST
from pcbench.judges.training.curves import Scaling
from pcbench.networks import InitialisationField, NearOrigin, NetworkParameters

Masking = Literal["matched", "published"]


@dataclass(frozen=True, slots=True)
class Way:
    """A way to train from a saddle, by ``BP`` or ``PC``.

    In published scaling PC's steps are longer, and in published masking targets that are not
    observed count; backpropagation never sees them.
    """

    learner: str
    scaling: Scaling
    masking: Masking

    def __str__(self) -> str:
        published = [what for what in ("scaling", "masking") if getattr(self, what) == "published"]
        return f"{self.learner}, published {' and '.join(published)}" if published else self.learner

    @property
    def opponent(self) -> Way:
        """How BP goes, against which PC is compared: it never sees what is masked."""
        return Way("BP", self.scaling, "matched")


class CompletionNetwork(NetworkParameters):
    """A fully connected network that starts near the origin, where the loss is not strict."""

    initialisation: InitialisationField = NearOrigin()

    @model_validator(mode="after")
    def _starts_at_a_saddle_of_rank_0(self) -> CompletionNetwork:
        if not isinstance(self.initialisation, NearOrigin):
            raise ValueError(
                "the path over the saddles starts near the origin; write initialisation: "
                "near_origin, or leave it out"
            )
        if self.convolutions or self.bias:
            raise ValueError(
                "saddles are told by rank, of fully connected networks without biases; leave "
                "convolutions and bias out"
            )
        if len(self.hidden) < 2:
            raise ValueError(
                "with fewer than 2 hidden layers the origin is a strict saddle of the loss, too, "
                "and BP leaves it as PC does; give 2 or more"
            )
        return self


class PathParameters(CaseParameters):
    """Backpropagation from near the origin, on the full batch."""

    learning_rate: PositiveFloat = Field(1e-2, description="η, the same for both learners.")
    steps: PositiveInt = Field(30_000, description="Most steps of BP's path.")
    stop: PositiveFloat = Field(1e-2, description="Loss at which a path ends.")
    look: PositiveInt = Field(20, description="Number of steps after which the path is looked at.")


class EscapeParameters(CaseParameters):
    """How long a learner may stay at a saddle, and when it has left."""

    steps: PositiveInt = Field(
        20_000,
        description="A learner that has not left after this many steps is censored; several times "
        "what BP takes.",
    )
    finish: NonNegativeInt = Field(
        0,
        description="Draws in which PC trains on from rank 0 to the loss at which BP's paths "
        "stop, for at most as many steps; how many times as long it takes is reported.",
    )
    fraction: float = Field(
        0.1,
        gt=0,
        lt=1,
        description="The loss must fall by this fraction of the saddle's own loss. Below one over "
        "the matrix's rank, the first drop is enough.",
    )


class Parameters(CaseParameters):
    """What a suite may write under ``kind: matrix_completion``."""

    data: LowRankMatrixParameters = LowRankMatrixParameters(name="low_rank_matrix")
    network: CompletionNetwork = CompletionNetwork(hidden_layers=3, width=100)
    training: PathParameters = PathParameters()
    escape: EscapeParameters = EscapeParameters()
    inference: InferenceSettings | None = Field(
        None,
        description="How PC infers; if not given, exactly in linear networks, by a few steps of "
        "Gauss-Newton in others.",
    )
    draws: int = Field(
        12, ge=FEWEST, le=MOST, description="Matrices, each with initial weights of its own."
    )
    scaling: Scaling | Literal["both"] = Field(
        "matched", description="Published: PC's step is N d_L / 2 times BP's."
    )
    masking: Masking | Literal["both"] = Field(
        "matched", description="Published: PC clamps targets that are not observed, too."
    )
    sooner: list[NonNegativeInt] | None = Field(
        None,
        description="Ranks of the saddles that PC must leave sooner than BP; if not given, 0, and "
        "in linear networks all below the matrix's. For other ranks it is reported only.",
    )

    def contradictions(self) -> Iterator[str]:
        """Say which settings do not fit together."""
        linear = self.network.activation == "identity"
        if isinstance(self.inference, ExactInference) and not linear:
            yield (
                "engine: exact solves linear networks; use engine: gauss_newton, or leave "
                "inference out"
            )
        if self.data.observed == 1 and self.masking != "matched":
            yield (
                f"masking: {self.masking} is about targets that are not observed, and goes unused "
                "where all are; leave masking out, or lower data.observed"
            )
        if self.escape.finish > self.draws:
            yield (
                f"there are {self.draws} draws, and escape.finish asks for {self.escape.finish} of "
                "them; lower it, or raise draws"
            )
        beyond = [rank for rank in self.sooner or [] if rank >= self.data.rank]
        if beyond:
            yield (
                f"a matrix of rank {self.data.rank} has no saddle of rank {beyond[0]}; take it out "
                "of sooner, or raise data.rank"
            )

    @property
    def engine(self) -> InferenceSettings:
        """How PC infers."""
        if self.inference is not None:
            return self.inference
        if self.network.activation == "identity":
            return ExactInference()
        return GaussNewtonInference(residual=1e-3, max_steps=10)

    @property
    def required(self) -> list[int]:
        """The ranks of the saddles that PC must leave sooner."""
        if self.sooner is not None:
            return sorted(set(self.sooner))
        return list(range(self.data.rank)) if self.network.activation == "identity" else [0]

    @property
    def ways(self) -> list[Way]:
        """How PC trains from a saddle, the fairest comparison first; BP's are those opposite."""
        scalings: tuple[Scaling, ...] = get_args(Scaling)
        maskings: tuple[Masking, ...] = get_args(Masking)
        return [
            Way("PC", scaling, masking)
            for scaling in scalings
            if self.scaling in (scaling, "both")
            for masking in maskings
            if self.masking in (masking, "both")
        ]
