"""Critical points of the equilibrated energy, from many starts.

Are all its saddles strict, as the paper conjectures? On noise-free targets, and where no output is
fitted exactly, they are (theory.md 2.6); an implementation that computes another energy, or the
right one with a mistake, shows in what the points are. Critical points are searched for from random
starts in parallel, counted and classified, and each is compared with Lemma A, its corollaries, and
a certificate of strictness. A candidate for a saddle that is not strict fails the case, and is
kept.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, ClassVar

import numpy as np
from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt

from pcbench import checks
from pcbench.case import Case, CaseParameters, CaseSkippedError, Columns, Context, Finding
from pcbench.cases.critical_points.judge import arrivals, checks_anywhere, judge
from pcbench.cases.critical_points.search import Batch, Fate, Judged, Points, Search
from pcbench.checks import Tolerance
from pcbench.contract import Capability
from pcbench.data.base import Count
from pcbench.networks import NetworkSpec
from pcbench.theory.linear import critical

# Starts at which what holds everywhere is checked: each says the same of another point.
_CHECKED_STARTS = 16
# Beyond the gradient asked for, steps that bring quadratic convergence to rounding.
_POLISH = 4

Width = Annotated[PositiveInt, Field(le=32)]


class Parameters(CaseParameters):
    """What a suite may write under ``kind: critical_points``."""

    widths: list[Width] = Field(
        min_length=3, max_length=12, description="d_0 … d_L: input, hidden layers, output."
    )
    samples: Count = Field(32, description="Inputs, N(0, 1) each.")
    teacher_rank: PositiveInt | None = Field(
        None, description="Rank of the random linear teacher; full if left out."
    )
    noise: NonNegativeFloat = Field(0.0, description="Standard deviation of noise on the targets.")
    starts: Count = Field(1000, description="Random starts.")
    scale: tuple[PositiveFloat, PositiveFloat] = Field(
        (0.1, 2.0), description="Least and largest scale of a layer at the start, log-uniform."
    )
    iterations: PositiveInt = Field(200, description="Levenberg-Marquardt steps, at most.")
    gradient: PositiveFloat = Field(
        1e-10, description="A start has arrived at a critical point where ‖∇𝓕*‖ is below this."
    )
    step: PositiveFloat = Field(1e-6, description="Largest relative step that may be left there.")
    limit: PositiveFloat = Field(
        30.0, description="A start whose ‖θ‖ exceeds this counts as diverging to infinity."
    )
    arrivals: NonNegativeFloat = Field(
        0.5, le=1, description="Share of the starts that must arrive if there is no noise."
    )
    candidates: str = Field(
        "candidates", description="Folder for candidates for non-strict saddles, as .npz."
    )

    def contradictions(self) -> Iterator[str]:
        """Say which settings do not fit together."""
        if self.noise > 0 and self.samples < self.widths[0] + self.widths[-1]:
            yield (
                f"with {self.samples} samples a network may fit the noise; give at least "
                f"{self.widths[0] + self.widths[-1]}, inputs and outputs together"
            )
        if self.scale[0] > self.scale[1]:
            yield "scale is [least, largest]; swap them"


class CriticalPoints(Case[Parameters]):
    """Critical points of the equilibrated energy, found, classified and certified."""

    kind: ClassVar[str] = "critical_points"
    description: ClassVar[str] = (
        "critical points of the equilibrated energy, reached from many random starts: "
        "Lemma A (theory.md 2.6), proofs of strictness, and a search for saddles that are not "
        "strict"
    )
    Parameters: ClassVar[type[CaseParameters]] = Parameters

    def needs(self) -> frozenset[Capability]:
        """Return what whole Hessians at many points at once need."""
        return frozenset({Capability.EXACT_INFERENCE, Capability.HESSIAN, Capability.REPLICAS})

    def run(self, context: Context) -> Iterator[Finding]:
        """Search, and judge what was found; float32 does not tell a small gradient from none."""
        if context.backend.dtype != "float64":
            raise CaseSkippedError(
                "critical points are told by gradients far below what float32 resolves; write "
                "dtype: float64"
            )
        asked = self.parameters
        network = NetworkSpec(tuple(asked.widths))
        batch = draw_batch(asked, context.rng("data"))
        judged = Judged(context.backend, network, batch)
        starts = draw_starts(asked, network, context.rng("starts"))
        context.saw("data", batch.x, batch.y)
        context.saw("starts", starts)
        yield from checks_anywhere(judged, starts[:_CHECKED_STARTS], context.rng("directions"))
        search = Search(judged, starts, asked.gradient, asked.step, asked.limit)
        for _ in context.progress("search", search.run(asked.iterations), asked.iterations):
            pass
        search.polish(_POLISH)
        points = arrivals(search)
        if batch.exact:
            yield checks.at_least(
                "share of starts that arrive",
                len(points) / len(starts),
                asked.arrivals,
                Tolerance(0.5 / len(starts), "half a start"),
                source="the search itself: Levenberg-Marquardt converges from most starts",
            )
        yield Columns("fates", {fate: [float(np.sum(search.fates == fate))] for fate in Fate})
        # Where it is positive, only W_L = 0 is critical, and all other starts must leave.
        misfit = critical.least_misfit(batch.x, batch.y)
        yield Columns("targets", {"least misfit of a direction": [misfit]})
        yield from judge(context, judged, points, asked.candidates)


def draw_batch(asked: Parameters, rng: np.random.Generator) -> Batch:
    """Draw inputs, a linear teacher of the rank asked for, and its noisy answers."""
    inputs, outputs = asked.widths[0], asked.widths[-1]
    rank = min(asked.teacher_rank or inputs, inputs, outputs)
    x = rng.standard_normal((asked.samples, inputs))
    teacher = rng.standard_normal((outputs, rank)) @ rng.standard_normal((rank, inputs))
    y = x @ teacher.T / np.sqrt(rank)
    y = y + asked.noise * rng.standard_normal(y.shape)
    return Batch(x, y, exact=asked.noise == 0)


def draw_starts(asked: Parameters, network: NetworkSpec, rng: np.random.Generator) -> Points:
    """Draw normal weights, every layer of every start with a scale of its own.

    Layers of different scales lead to saddles of different ranks.
    """
    low, high = np.log(asked.scale)
    layers = []
    for out, inp in network.shapes:
        scales = np.exp(rng.uniform(low, high, (asked.starts, 1)))
        layers.append(scales * rng.standard_normal((asked.starts, out * inp)))
    return np.concatenate(layers, axis=1)
