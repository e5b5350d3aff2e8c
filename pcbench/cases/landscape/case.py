"""Figure 2 of the paper: slices of loss and equilibrated energy through a point, and paths.

A slice is a plane through the point, along the extreme eigenvectors of a Hessian or two random
directions; its middle lines are the slices in one dimension. What is plotted is judged: every value
of a linear network by Theorem 1, slopes and curvatures by differences of the values themselves.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar, Literal, get_args

import numpy as np
from jaxtyping import Float
from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt, model_validator

from pcbench import checks
from pcbench.case import Case, CaseParameters, CaseSkippedError, Columns, Context, Finding
from pcbench.cases.landscape.tangent import MOST_EXTREME, Tangent, random_directions
from pcbench.checks import Check
from pcbench.contract import (
    Capability,
    DType,
    ExactInference,
    GaussNewtonInference,
    InferenceSettings,
    Objective,
)
from pcbench.data import DataField
from pcbench.data.base import Count
from pcbench.judges.answers import needs
from pcbench.judges.basis import Basis
from pcbench.judges.points import Answer, Points, are_well_formed, ask, joined, judged, verdicts_of
from pcbench.judges.problem import Problem, rounded
from pcbench.judges.training.curves import LEARNERS
from pcbench.networks import NetworkParameters, Origin, activation
from pcbench.theory.rounding.bounds import unit_roundoff
from pcbench.theory.rounding.underflow import SMALLEST

MOST_PLOTTED = 16  # parameters: each is a column of a path
REPLICAS = 16  # points that are timed together

DESCENT = Basis(
    "gradient descent on the closed form (theory.md 2.1)",
    "the rate times rounding of the gradient, and rounding of the step",
)

# Further out a step that is too long has left the landscape for good.
_FAR = 1e3


class Paths(CaseParameters):
    """Stochastic gradient descent from near the point, in matched scaling, as in figure 2."""

    starts: Count = Field(5, description="Paths of either learner, from the same starts.")
    std: NonNegativeFloat = Field(0.05, description="σ of the starts around the point.")
    steps: PositiveInt = 50
    learning_rate: PositiveFloat = 0.4
    batch: PositiveInt = Field(64, description="Samples in a step; at most data.samples.")


class Walk:
    """Both learners' paths from the same starts near a point, and over the same batches.

    The streams are ``starts`` and ``batches``; ``settings`` say how PC infers.
    """

    def __init__(
        self, context: Context, problem: Problem, settings: InferenceSettings, asked: Paths
    ) -> None:
        self._context, self._problem, self._settings = context, problem, settings
        self._rate, self._dtype = asked.learning_rate, context.backend.dtype
        origin = joined(problem.parameters)
        away = context.rng("starts").standard_normal((asked.starts, len(origin)))
        [self._starts] = rounded([origin + asked.std * away], self._dtype)
        rng = context.rng("batches")
        # Both learners see the same batches: what differs is the objective alone.
        drawn = [rng.choice(len(problem.x), asked.batch, replace=False) for _ in range(asked.steps)]
        self._batches = [problem.rows(rows) for rows in drawn]

    def growth(self) -> Columns:
        """By how much ``‖W_L‖`` grows on PC's paths as long as they are near the origin.

        ``(1 + η λ_max(Σ_yy))`` a step, by Theorem 2 (theory.md 2.4), with two hidden layers or more
        and in the direction of steepest descent; BP stays there.
        """
        y, steps = self._problem.y, np.arange(len(self._batches) + 1.0)
        growth = (1 + self._rate * float(np.linalg.eigvalsh(y.T @ y / len(y))[-1])) ** steps
        return Columns(
            "growth of W_L near the origin", {"step": steps.tolist(), "factor": growth.tolist()}
        )

    def findings(self, learner: str) -> Iterator[Check | Columns]:
        """Go all paths of one learner at once, a step at a time, as long as every check holds.

        A step sees its batch; the values along a path are those of all samples.
        """
        objective, points = LEARNERS[learner], self._starts
        seen: list[list[Answer]] = []
        ends = [*self._batches, None]  # after the last step there is no batch
        for step, batch in enumerate(
            self._context.progress(f"paths of {learner}", ends, len(ends))
        ):
            judges = judged(self._context, self._problem, points, self._settings)
            verdicts = list(verdicts_of(judges))
            if checks.all_passed(verdicts):
                seen.append([judge.answer for judge in judges])
                if batch is not None:
                    points, made = self._step(points, batch, objective)
                    verdicts += made
            yield from (verdict.at(f"{learner}, step {step}") for verdict in verdicts)
            if not checks.all_passed(verdicts) or np.abs(points).max() > _FAR:
                break
        for start, path in enumerate(zip(*seen, strict=True), start=1):
            along = np.stack([joined(answer.problem.parameters) for answer in path])
            columns = {"step": [float(step) for step in range(len(path))]}
            columns |= {f"parameter {i}": c.tolist() for i, c in enumerate(along.T, start=1)}
            for each in LEARNERS.values():
                columns[each] = [answer.value(each) for answer in path]
            yield Columns(f"path {start} of {learner}", columns)

    def _step(
        self, points: Points, batch: Problem, objective: Objective
    ) -> tuple[Points, list[Check]]:
        """Move all points against the backend's gradient, and check that by the theory's."""
        judges = judged(self._context, batch, points, self._settings)
        made, rate = [judge.well_formed for judge in judges], self._rate
        if not checks.all_passed(made):
            return points, made
        slopes = np.stack([judge.answer.gradient(objective) for judge in judges])
        [moved] = rounded([points - rate * slopes], self._dtype)
        # Each entry may be flushed to zero as it is rounded to the dtype.
        flushed = SMALLEST * np.sqrt(points.shape[1])
        rows = zip(judges, points, moved, strict=True)
        for number, (judge, before, after) in enumerate(rows, start=1):
            expected, where = judge.expected, f"path {number}"
            due = before - rate * expected.gradients[objective]
            off = rate * expected.gradients_off[objective] + judge.u * np.linalg.norm(after)
            name = f"steps on the {objective}"
            made.append(DESCENT.distance(name, after, due, off + flushed, where))
        return moved, made


class SmoothNetwork(NetworkParameters):
    """A fully connected network whose landscape has curvatures everywhere."""

    @model_validator(mode="after")
    def _is_smooth(self) -> SmoothNetwork:
        if self.convolutions:
            raise ValueError("this kind takes fully connected networks; leave convolutions out")
        if not activation(self.activation).smooth:
            raise ValueError(
                f"a landscape of {self.activation} has kinks, and no curvature there; use a "
                "smooth activation: identity, tanh or silu"
            )
        return self


class Parameters(CaseParameters):
    """What a suite may write under ``kind: landscape``."""

    data: DataField
    network: SmoothNetwork
    inference: InferenceSettings | None = Field(
        None,
        description="How inference is done; if not given, exactly in linear networks, and in "
        "others by Gauss-Newton, down to rounding.",
    )
    directions: Literal["extreme", "random"] = Field(
        "extreme",
        description="Of the slice: eigenvectors of the least and the largest curvature, or two "
        "random orthogonal ones.",
    )
    curvature_of: Objective = Field(
        "energy",
        description="Whether the extreme directions are eigenvectors of the Hessian of the loss "
        "or of the energy.",
    )
    extent: PositiveFloat = Field(1.0, description="Half the side of the slice.")
    points: int = Field(21, ge=3, le=1001, description="Points along a side, odd.")
    paths: Paths | None = Field(None, description="Paths across it, of small linear networks.")

    def contradictions(self) -> Iterator[str]:
        """Say which settings do not fit together."""
        if self.points % 2 == 0:
            yield (
                f"a slice of {self.points} points a side misses the point that it goes through; "
                "give an odd number"
            )
        if self.directions == "random" and "curvature_of" in self.model_fields_set:
            yield (
                "curvature_of says whose extreme directions are taken, and goes unused with random "
                "ones; leave it out, or write directions: extreme"
            )
        if isinstance(self.inference, ExactInference) and not self.network.is_linear:
            yield (
                "engine: exact solves linear networks without biases; use engine: gauss_newton, "
                "or leave inference out"
            )
        if self.paths is None:
            return
        if not self.network.is_linear:
            yield (
                "paths are judged by closed forms, those of linear networks without biases; leave "
                "paths out"
            )
        if self.paths.batch > self.data.samples:
            yield (
                f"paths.batch is {self.paths.batch} but data.samples only {self.data.samples}; "
                "raise data.samples or lower paths.batch"
            )

    def engine(self, dtype: DType) -> InferenceSettings:
        """How energies are found in a dtype."""
        if self.inference is not None:
            return self.inference
        if self.network.is_linear:
            return ExactInference()
        # Energies err by the square of the residual, and so by no more than they are rounded.
        residual = float(np.sqrt(unit_roundoff(dtype)))
        return GaussNewtonInference(residual=residual, max_steps=500)


class Landscape(Case[Parameters]):
    """Loss and equilibrated energy on a slice through a point, and paths of BP and PC."""

    kind: ClassVar[str] = "landscape"
    description: ClassVar[str] = (
        "loss and equilibrated energy on lines and on a plane through a point, slopes "
        "and curvatures at the point, and paths of gradient descent by BP and PC (figure 2)"
    )
    Parameters: ClassVar[type[CaseParameters]] = Parameters

    def needs(self) -> frozenset[str]:
        """Return the capabilities behind the engine and the network, and Hessian products."""
        asked = self.parameters
        engine = asked.engine("float64")  # the same in every dtype but for its residual
        return needs(asked.network, {"": engine}) | {Capability.HESSIAN}

    def run(self, context: Context) -> Iterator[Finding]:
        """Judge the point, its surroundings, the slice and the paths, in this order."""
        asked = self.parameters
        problem = Problem.pose(context, asked.data, asked.network)
        _refuse_sizes(asked, problem.network.n_parameters)
        worst = checks.Worst()
        for finding in self._explore(context, problem):
            if isinstance(finding, Check):
                worst.add(finding)
            else:
                yield finding
        yield from worst
        if checks.all_passed(worst):
            engine = asked.engine(context.backend.dtype)
            points = np.tile(joined(problem.parameters), (REPLICAS, 1))
            yield context.measure(
                f"loss, energy and gradients at {REPLICAS} points",
                lambda: list(ask(context.backend, problem, points, engine)),
            )

    def _explore(self, context: Context, problem: Problem) -> Iterator[Check | Columns]:
        """Yield every comparison, and stop at what would make the next ones meaningless."""
        asked, settings = self.parameters, self.parameters.engine(context.backend.dtype)
        [centre] = judged(context, problem, joined(problem.parameters)[None], settings)
        yield from (check.at("the point itself") for check in verdicts_of([centre]))
        if not centre.well_formed.passed:
            return
        tangent, size = Tangent(context, problem, centre, settings), problem.network.n_parameters
        formed = [tangent.form(each) for each in get_args(Objective)]
        yield from formed
        if not checks.all_passed(formed):
            return
        if asked.directions == "extreme":
            directions, made = tangent.extreme(asked.curvature_of)
            yield from made
        else:
            rng = context.rng("directions")
            directions = random_directions(size, rng, context.backend.dtype)
        yield Columns("directions", {"u": directions[0].tolist(), "v": directions[1].tolist()})
        yield from tangent.findings(directions)
        ticks = np.linspace(-asked.extent, asked.extent, asked.points)
        yield from slices(context, problem, directions, ticks, settings)
        if asked.paths is not None:
            walk = Walk(context, problem, settings, asked.paths)
            if isinstance(asked.network.initialisation, Origin) and problem.network.n_hidden > 1:
                yield walk.growth()
            for learner in LEARNERS:
                yield from walk.findings(learner)


def _refuse_sizes(asked: Parameters, size: int) -> None:
    """Skip the case if it cannot be sliced."""
    if size < 2:
        raise CaseSkippedError("a slice has two directions, and this network one parameter alone")
    if asked.directions == "extreme" and size > MOST_EXTREME:
        raise CaseSkippedError(
            f"eigenvectors of the Hessian of {size:,} parameters take too long; this kind finds "
            f"them for up to {MOST_EXTREME:,}; write directions: random"
        )
    if asked.paths is not None and size > MOST_PLOTTED:
        raise CaseSkippedError(
            f"a path of {size:,} parameters cannot be plotted; this kind takes paths of up to "
            f"{MOST_PLOTTED}; leave paths out"
        )


def slices(
    context: Context,
    problem: Problem,
    directions: Points,
    ticks: Float[np.ndarray, " points"],
    settings: InferenceSettings,
) -> Iterator[Check | Columns]:
    """Judge every point of the grid of ticks, and give what there is to plot.

    The gradient field is what a learner follows: gradients, projected on the two directions ``u``
    and ``v``, one a row; ``v`` runs fastest. ``settings`` say how energies are found.
    """
    grid = np.stack(np.meshgrid(ticks, ticks, indexing="ij"), axis=-1).reshape(-1, 2)
    rows = np.split(joined(problem.parameters) + grid @ directions, len(ticks))
    columns: dict[str, list[float]] = {"u": [], "v": [], "loss": [], "energy": []}
    columns |= {f"slope of the {o} along {w}": [] for o in get_args(Objective) for w in "uv"}
    place = iter(grid.tolist())
    for row in context.progress("slice", rows, len(rows)):
        judges = judged(context, problem, row, settings)
        yield from (check.at("on the slice") for check in verdicts_of(judges))
        if not are_well_formed(judges):
            return
        for judge in judges:
            answer = judge.answer
            fields = [directions @ answer.gradient(o) for o in get_args(Objective)]
            values = [answer.value("loss"), answer.value("energy"), *np.concatenate(fields)]
            for column, value in zip(columns.values(), [*next(place), *values], strict=True):
                column.append(float(value))
    yield Columns("plane along u and v", columns)
    for axis, name in enumerate("uv"):
        middle = np.flatnonzero(grid[:, 1 - axis] == 0)
        yield Columns(
            f"line along {name}",
            {key: [columns[key][i] for i in middle] for key in (name, "loss", "energy")},
        )
