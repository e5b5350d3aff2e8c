"""How escape times grow as the initial weights shrink: the law that tells strict from non-strict.

Backpropagation leaves the origin of a network with two hidden layers or more in a time like a power
of ``1/σ``, predictive coding in one like a power of ``ln(1/σ)``. Both are fitted to runs from
scales over a factor of 30 and more, every scale and seed a replica of one trainer, and held against
theory.md 2.7; runs of linear networks also, step by step, against descent in closed form.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from jaxtyping import Float

from pcbench import checks, theory
from pcbench.backends import (
    Capability,
    ExactInference,
    Objective,
    Sgd,
    TrainingSettings,
)
from pcbench.cases import _law_fits as fits
from pcbench.cases._law_checks import Unresolved, judged, missing_power, replayed
from pcbench.cases._law_parameters import Parameters
from pcbench.cases._law_runs import Escapes, leave, scaled_draws
from pcbench.cases._problem import Problem
from pcbench.cases._relaxed import needs
from pcbench.cases._seeds import Replicas
from pcbench.cases._training import LEARNERS
from pcbench.cases.base import Case, CaseParameters, CaseSkippedError, Columns, Context, Finding
from pcbench.checks import Check, Tolerance

SOURCE = "leaving the origin: rates and laws (theory.md 2.7)"
MOST_OF_A_DIRECTION = 2 / 3
"""Until the energy of a direction has fallen by that, ``W_L`` grows to ``√2``, and by then the next
layer by a factor of ``e`` at most. Later the energy, too, waits for the layers below."""

SOON, SELDOM = 100, 1000
"""Steps between two looks at who has left: few of little, and few looks at much."""

HALF_WAY = 0.5
"""To the next power of ``1/σ``."""


@dataclass(frozen=True, slots=True)
class Left:
    """A learner's runs."""

    learner: str
    objective: Objective
    scales: Float[np.ndarray, " scales"]
    weights: Replicas
    escapes: Escapes


class EscapeLaw(Case[Parameters]):
    """Escape times of both learners against the scale of the initial weights."""

    kind: ClassVar[str] = "escape_law"
    description: ClassVar[str] = (
        "escape times from near the origin against the scale of the initial weights: a power law "
        "for BP, a power of the logarithm for PC, with fitted exponents"
    )
    Parameters: ClassVar[type[CaseParameters]] = Parameters

    def needs(self) -> frozenset[Capability]:
        """Return what training replicas with this inference needs."""
        asked = self.parameters
        return needs(asked.network, {"PC": asked.inference}) | {
            Capability.TRAINING,
            Capability.REPLICAS,
        }

    def run(self, context: Context) -> Iterator[Finding]:
        """Let both learners leave, and fit what the theory says of each."""
        asked = self.parameters
        problem = Problem.pose(context, asked.data, asked.network)
        most = MOST_OF_A_DIRECTION * theory.leading_share(problem.x, problem.y)
        if asked.fraction > most:
            raise CaseSkippedError(
                "the laws are about the first direction to leave, which alone takes away "
                f"{most:.3g} of the loss in good time here; make fraction at most that"
            )
        open_questions: list[Unresolved] = []
        for learner, objective in LEARNERS.items():
            left = self._leave(context, problem, learner, objective)
            yield from self._series(left)
            yield from replayed(
                problem,
                left.weights,
                left.escapes,
                context.backend.dtype,
                learner,
                objective,
                exact=isinstance(asked.inference, ExactInference) or objective == "loss",
                ratio=asked.scales.ratio,
                step=asked.training.learning_rate,
                fraction=asked.fraction,
                max_steps=asked.training.max_steps,
            )
            for found in self._laws(problem, left):
                if isinstance(found, Unresolved):
                    open_questions.append(found)
                elif left.escapes.everywhere < len(left.scales):
                    yield found.at(f"{left.escapes.everywhere} of {len(left.scales)} scales")
                else:
                    yield found
        if open_questions:
            raise CaseSkippedError(
                f"these runs are too few, too short or not near enough to the origin for "
                f"{', '.join(map(str, open_questions))}; take smaller scales or more of them "
                "(scales.further), or a smaller training.learning_rate"
            )

    def _leave(
        self, context: Context, problem: Problem, learner: str, objective: Objective
    ) -> Left:
        asked = self.parameters
        quick = objective == "energy" or theory.escape_exponent(problem.network.n_layers) == 0
        scales = asked.scales.all(further=quick)
        weights = scaled_draws(context, problem, scales, asked.seeds)
        settings = TrainingSettings(
            objective, Sgd(), asked.training.learning_rate, inference=asked.inference
        )
        escapes = leave(
            context,
            problem,
            weights,
            settings,
            stage=f"steps of {learner}",
            look=SOON if quick else SELDOM,
            seeds=asked.seeds,
            fraction=asked.fraction,
            max_steps=asked.training.max_steps,
        )
        return Left(learner, objective, scales, weights, escapes)

    def _laws(self, problem: Problem, left: Left) -> Iterator[Check | Unresolved]:
        """Fit the scales that every seed left from."""
        complete = left.escapes.everywhere
        if complete < fits.LEAST_SCALES:
            raise CaseSkippedError(
                f"every seed of {left.learner} left from {complete} scales, counted from the "
                f"largest, and a fit needs {fits.LEAST_SCALES}; raise training.max_steps or, where "
                "runs from the largest scale diverge, make it smaller"
            )
        loss, energy = left.escapes.loss[:complete], left.escapes.energy[:complete]
        power = theory.escape_exponent(problem.network.n_layers)
        if left.objective == "energy":
            yield self._in_logarithmic_time(problem, left, "energy", energy)
        if power == 0:
            yield self._in_logarithmic_time(problem, left, "loss", loss)
        elif left.objective == "loss":
            bounds = fits.power(loss, self.parameters.scales.ratio)
            yield judged("BP: power of 1/σ", bounds, float(power), HALF_WAY, source=SOURCE)
        else:
            yield from self._slowed_down(problem, left.scales[:complete], loss)

    def _in_logarithmic_time(
        self,
        problem: Problem,
        left: Left,
        what: Objective,
        times: Float[np.ndarray, "scales seeds"],
    ) -> Check | Unresolved:
        """Hold the steps per e-fold of the scale against the rate at the origin."""
        layers = problem.network.n_layers
        rates = theory.escape_rates(problem.x, problem.y, layers, left.objective)
        gap = float(1 - rates[1] / rates[0]) if len(rates) > 1 else 1.0
        expected = theory.steps_per_e_fold(rates[0], self.parameters.training.learning_rate)
        return judged(
            f"{left.learner}: steps of the {what} per e-fold of 1/σ",
            fits.slope(times, self.parameters.scales.ratio, gap),
            expected,
            expected / 3,  # so that half of it is not within reach of all of it
            source=SOURCE,
        )

    def _slowed_down(
        self,
        problem: Problem,
        scales: Float[np.ndarray, " scales"],
        loss: Float[np.ndarray, "scales seeds"],
    ) -> Iterator[Check | Unresolved]:
        """Hold PC's loss against a power of the logarithm, and against BP's power law."""
        layers = problem.network.n_layers
        kappa = float(theory.logarithmic_exponent(layers))
        yield judged(
            "PC: power of ln(1/σ)",
            fits.logarithmic_power(loss),
            kappa,
            kappa / 2,  # a power of 1/σ has none at all
            source=SOURCE,
            missing=2 * missing_power(problem, fits.at_thirds(scales), self.parameters.fraction),
        )
        local = fits.local_power(loss, self.parameters.scales.ratio)
        yield checks.below(
            "PC: power of 1/σ at the smallest scales",
            float(np.median((local.lower + local.upper) / 2)),
            theory.escape_exponent(layers) / 2,
            Tolerance(float(np.max(local.upper - local.lower) / 2), "whole steps"),
            source=f"{SOURCE}: half of BP's power",
        )

    def _series(self, left: Left) -> Iterator[Columns]:
        measured = {"loss": left.escapes.loss}
        if left.objective == "energy":
            measured["energy"] = left.escapes.energy
        for what, times in measured.items():
            columns = {"scale": left.scales.tolist()}
            for seed, column in enumerate(times.T, start=1):
                columns[f"steps, seed {seed}"] = column.tolist()
            yield Columns(f"{left.learner}: escape of the {what}", columns)
