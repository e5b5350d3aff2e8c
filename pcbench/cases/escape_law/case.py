"""How escape times grow as the initial weights shrink: the law that tells strict from non-strict.

Backpropagation leaves the origin of a network with two hidden layers or more in a time like a power
of ``1/σ``, predictive coding in one like a power of ``ln(1/σ)``. Both are fitted to runs from
scales over a factor of 30 and more, every scale and seed a replica of one trainer, and compared
with theory.md 2.7; runs of BP, and of PC in linear networks, also with descent in theory.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import ClassVar, Literal

import numpy as np

from pcbench import checks
from pcbench.case import Case, CaseParameters, CaseSkippedError, Columns, Context, Finding
from pcbench.cases.escape_law import fits
from pcbench.cases.escape_law.fits import against_bound, against_law
from pcbench.cases.escape_law.parameters import Parameters
from pcbench.cases.escape_law.replay import runs
from pcbench.cases.escape_law.runs import Left, chain_power, chain_times, leave, too_near
from pcbench.checks import Check
from pcbench.contract import Objective
from pcbench.judges.answers import training_needs
from pcbench.judges.problem import Problem
from pcbench.judges.reported import counted
from pcbench.judges.training.curves import LEARNERS
from pcbench.theory.dynamics.escape import (
    escape_exponent,
    escape_rates,
    leading_share,
    logarithmic_exponent,
    steps_per_e_fold,
)

MOST_OF_A_DIRECTION = 2 / 3
"""Until the energy of a direction has fallen by that, ``W_L`` grows to ``√2``, and by then the next
layer by a factor of ``e`` at most. Later the energy, too, waits for the layers below."""

HALF_WAY = 0.5
"""To the next power of ``1/σ``."""


class EscapeLaw(Case[Parameters]):
    """Escape times of both learners against the scale of the initial weights."""

    kind: ClassVar[str] = "escape_law"
    description: ClassVar[str] = (
        "how the time to escape from near the origin grows as the scale σ of the "
        "initial weights shrinks: as a power of 1/σ for BP, as a power of ln(1/σ) for PC, with "
        "fitted exponents"
    )
    Parameters: ClassVar[type[CaseParameters]] = Parameters

    def needs(self) -> frozenset[str]:
        """Return what training replicas with this inference needs."""
        return training_needs(self.parameters.network, self.parameters.inference)

    def run(self, context: Context) -> Iterator[Finding]:
        """Let both learners leave, and fit what the theory says of each."""
        asked = self.parameters
        problem = Problem.pose(context, asked.data, asked.network)
        most = MOST_OF_A_DIRECTION * leading_share(problem.x, problem.y)
        if asked.fraction > most:
            raise CaseSkippedError(
                "the laws are about the first direction to leave, which alone takes away "
                f"{most:.3g} of the loss in good time here; make fraction at most that"
            )
        open_questions: list[str] = []
        for learner in LEARNERS:
            left = leave(context, problem, asked, learner)
            yield from self._series(left)
            made, unstable = runs(problem, left, context.backend.dtype, asked)
            yield from made
            loss, energy = (each.without(unstable) for each in (left.loss, left.energy))
            left = replace(left, loss=loss, energy=energy)
            for found in self._laws(problem, left):
                if isinstance(found, str):
                    open_questions.append(found)
                elif left.everywhere < len(left.scales):
                    yield found.at(f"{left.everywhere} of {len(left.scales)} scales")
                else:
                    yield found
        if open_questions:
            raise CaseSkippedError(
                f"these runs are too few, too short or not near enough to the origin for "
                f"{', '.join(open_questions)}; take smaller scales or more of them "
                "(scales.further), more steps (training.max_steps) or a smaller "
                "training.learning_rate"
            )

    def _laws(self, problem: Problem, left: Left) -> Iterator[Check | str]:
        """Fit the scales that every seed left from."""
        complete = left.everywhere
        if complete < fits.LEAST_SCALES:
            yield (
                f"{left.learner}: all laws (every seed left from {complete} scales, counted from "
                f"the largest, and a fit needs {fits.LEAST_SCALES}; where the largest diverge, "
                "make them smaller)"
            )
            return
        scales, loss, energy = left.scales[:complete], left.loss[:complete], left.energy[:complete]
        kept = replace(left, scales=scales, loss=loss, energy=energy)
        if left.objective == "energy":
            yield self._in_logarithmic_time(problem, kept, "energy")
        if escape_exponent(problem.network.n_layers) == 0:
            yield self._in_logarithmic_time(problem, kept, "loss")
        elif left.objective == "loss":
            times = fits.power(kept.loss, self.parameters.scales.ratio)
            power = float(escape_exponent(problem.network.n_layers))
            yield against_law("BP: power of 1/σ", times, power, HALF_WAY)
            yield self._on_its_side(problem, kept, "above")
        else:
            yield from self._slowed_down(problem, kept)

    def _in_logarithmic_time(self, problem: Problem, left: Left, what: Objective) -> Check | str:
        """Compare the steps per e-fold of the scale with the rate at the origin."""
        layers = problem.network.n_layers
        rates = escape_rates(problem.x, problem.y, layers, left.objective)
        gap = float(1 - rates[1] / rates[0]) if len(rates) > 1 else 1.0
        expected = steps_per_e_fold(rates[0], self.parameters.training.learning_rate)
        return against_law(
            f"{left.learner}: steps of the {what} per e-fold of 1/σ",
            fits.slope(left.measures[what], self.parameters.scales.ratio, gap),
            expected,
            expected / 3,  # so that half of it is not within reach of all of it
        )

    def _slowed_down(self, problem: Problem, left: Left) -> Iterator[Check | str]:
        """Compare PC's loss with a power of the logarithm, and rule out BP's power law."""
        name = "PC: power of ln(1/σ)"
        chains = chain_power(problem, left.scales[fits.thirds(left.scales)], self.parameters)
        if isinstance(chains, str):
            yield f"{name} ({chains})"
        else:
            expected = float(chains.lower[0] + chains.upper[0]) / 2
            # The law of one layer less is then beyond reach. It is approached from below.
            below = float(logarithmic_exponent(problem.network.n_layers - 1))
            yield against_law(
                name,
                fits.logarithmic_power(left.loss),
                expected,
                (expected - below) / 2,
                missing=float(chains.upper[0] - chains.lower[0]) / 2,
            )
        yield self._on_its_side(problem, left, "below")

    def _on_its_side(
        self, problem: Problem, left: Left, side: Literal["above", "below"]
    ) -> Check | str:
        """Compare the local power of ``1/σ`` with half of BP's, which no logarithm reaches."""
        name = f"{left.learner}: power of 1/σ at the smallest scales"
        half = escape_exponent(problem.network.n_layers) / 2
        smallest = fits.thirds(left.scales)[1:]
        steps = np.median(left.loss[smallest].whole, axis=1)
        if (steps > 1).all():
            bounds = fits.local_power(left.loss, self.parameters.scales.ratio)
            return against_bound(name, bounds, side, half)
        scales = left.scales[smallest]
        chains = chain_times(problem, scales, self.parameters, left.objective, max_steps=3)
        if near := too_near(scales[0], chains[0]):
            return f"{name} ({near})"
        return checks.at_least(
            name,
            float(steps.min()),
            2.0,
            counted("steps"),
            source="near the origin gradients are of the order of σ at most, and no step leaves",
            where="steps that the loss takes to fall, median over seeds",
        )

    def _series(self, left: Left) -> Iterator[Columns]:
        for what, times in left.measures.items():
            columns = {"scale": left.scales.tolist()}
            for seed, column in enumerate(times.whole.T, start=1):
                columns[f"steps, seed {seed}"] = column.tolist()
            yield Columns(f"{left.learner}: escape of the {what}", columns)
