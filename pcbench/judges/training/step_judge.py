"""Checks on training: that a trainer takes the steps that it should.

The first steps of a fresh trainer are taken one by one, with its parameters on the host in between:
what it must do next is known from them, whatever happened before. Each step is compared with the
theory's own gradient at the parameters before, and the theory's own optimiser.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from pcbench.case import Context
from pcbench.checks import Check, undecided, unmultiplied
from pcbench.contract import ExactInference, Model, Sgd, Trainer, TrainingSettings
from pcbench.judges.answers import InferenceResult, Subject
from pcbench.judges.basis import Basis, folded
from pcbench.judges.inference import InferenceJudge
from pcbench.judges.problem import Problem, rounded
from pcbench.judges.reported import DEFINITION, EDGE, counts_match, differing
from pcbench.judges.training.step_expected import expect, loss_off, optimiser
from pcbench.judges.training.step_taken import Allowed, Parameters, StepTaken, one_run
from pcbench.theory.nonlinear.layered import layered_loss
from pcbench.theory.rounding.bounds import unit_roundoff
from pcbench.theory.rounding.undecidable import UndecidableError

_FORM = "malformed answers of training"


class StepJudge:
    """Compares the first steps of a trainer with the theory.

    Every replica's first step is judged; of later ones, to keep the price down, those of two
    replicas: the last, and one chosen at random (stream ``judged replicas``). Before the last step
    the trainer has to let the first replica go, and to go on with the others in reverse order.

    To look at a later step, give the parameters that training had come to, and that step's batch:
    a trainer begins there like anywhere else. Only a history of Adam is then not looked at.

    ``parameters`` have an axis of ``R`` replicas first; ``batches`` are rows of the samples that
    each of the first steps sees, ``(K, N)`` or ``(K, R, N)``, or ``None`` for all of them at every
    step; ``learner`` goes into the names of checks.
    """

    def __init__(
        self,
        context: Context,
        problem: Problem,
        settings: TrainingSettings,
        parameters: Parameters,
        batches: Int[np.ndarray, "K *R N"] | None,
        learner: str,
    ) -> None:
        self._backend, self._problem, self._settings = context.backend, problem, settings
        self._begin = rounded(parameters, context.backend.dtype)
        self._batches, self._learner = batches, learner
        replicas = len(parameters[0])
        self._shapes = [parameter.shape[1:] for parameter in parameters]
        self._optimisers = [[optimiser(settings, r) for _ in parameters] for r in range(replicas)]
        # Gradients of linear networks are products of d_L rows, and may be added row by row.
        descends = problem.network.is_linear and isinstance(settings.optimiser, Sgd)
        self._terms = problem.y.shape[1] if descends else 1
        self._allowed: list[list[Allowed]] = [[] for _ in range(replicas)]
        self._followed = {replicas - 1}
        if replicas > 2:
            self._followed.add(int(context.rng("judged replicas").integers(1, replicas - 1)))

    @folded
    def findings(self, steps: int = 3) -> Iterator[Check]:
        """Take steps and judge them; each kind of check is one verdict, the one nearest the edge.

        No more steps are taken than there are batches.
        """
        if self._batches is not None:
            steps = min(steps, len(self._batches))
        for check in self._checks(steps):
            name = f"{check.name} ({self._learner})"
            message = check.message.replace(check.name, name, 1)
            yield check.model_copy(update={"name": name, "message": message})

    def _checks(self, steps: int) -> Iterator[Check]:
        """Every single comparison, up to the first answer that is not well-formed."""
        model = self._backend.build(self._problem.network, self._begin)
        predicted = self._outputs(model)
        trainer = self._trainer(model)
        yield differing("parameters at the start", trainer.parameters(), self._begin)
        taken: list[StepTaken] = []
        everybody = running = list(range(len(self._begin[0])))
        for step in range(steps):
            # A replica that diverged is let go with the first.
            kept = taken[-1].replicas if taken else everybody
            if step == steps - 1 > 0 and len(kept) > 1:
                if kept == everybody:
                    yield from one_run(self._trainer(model), taken, self._allowed)
                kept = kept[:0:-1]
            due = self._begin
            if taken:
                due = taken[-1].of([taken[-1].replicas.index(replica) for replica in kept]).after
            if kept != running:
                trainer.keep([running.index(replica) for replica in kept])
                yield differing("parameters of replicas kept", trainer.parameters(), due)
                running = kept
            rows = None if self._batches is None else self._batches[step : step + 1]
            if rows is not None and rows.ndim == 3:
                rows = rows[:, running]
            brought = trainer.parameters()
            before = [array.copy() for array in brought]
            record = trainer.run(1, rows)
            after = [array.copy() for array in trainer.parameters()]
            now = StepTaken(step, running, rows, brought, before, after, record)
            unmoved = differing("parameters brought to the host", now.before, due)
            yield unmoved.at(f"before step {step + 1}")
            # What the backend itself has changed since the last step is no divergence.
            beyond = self._beyond(now) if unmoved.passed else {}
            for place, reason in beyond.items():
                yield self._diverged(_FORM, now, reason).at(f"replica {running[place] + 1}")
            inside = [place for place in range(len(running)) if place not in beyond]
            if not inside:
                return
            taken.append(now.of(inside))
            well_formed = taken[-1].well_formed(self._shapes)
            yield well_formed
            if not well_formed.passed:
                return
            yield from self._step(taken[-1], alone=not beyond)
        if taken[-1].replicas == everybody:
            yield from one_run(self._trainer(model), taken, self._allowed)
        yield self._moved_on(trainer.model, running, taken[-1])
        yield differing("model that training began with", self._outputs(model), predicted)

    def _trainer(self, model: Model[Any]) -> Trainer[Any]:
        x, y, *precision = Subject(self._backend, self._problem).batch
        return self._backend.trainer(model, x, y, self._settings, *precision)

    def _outputs(self, model: Model[Any]) -> list[Float[np.ndarray, "..."]]:
        """What shows whether parameters have changed: no prediction stays, if all of them move."""
        rows = slice(None) if self._batches is None else self._batches[0].ravel()[:8]
        x = self._backend.to_device(self._problem.x[rows])
        return [self._backend.to_host(model.predict(x))]

    def _step(self, taken: StepTaken, *, alone: bool) -> Iterator[Check]:
        """Judge a well-formed step, of all replicas at first, and then of those that are followed.

        ``alone`` says that no other replica has taken it with them.
        """
        result = self._infer(taken)
        # Where host and device are one, what was given may be the memory that training goes on in.
        yield differing("parameters brought to the host", taken.brought, taken.before)
        if result is None or alone:  # those of all replicas are counted together
            seen, where = taken.record.inference_steps[0], f"step {taken.step + 1}"
            steps = 0 if result is None else result.steps
            yield counts_match("steps of inference", seen, steps, "steps", where=where)
        for place, replica in enumerate(taken.replicas):
            if taken.step and replica not in self._followed:
                continue
            reached = None if result is None else result.each(partial(_of, place=place))
            problem, dtype = self._at(taken, place), self._backend.dtype
            expected, u = expect(problem, self._settings, dtype, reached), unit_roundoff(dtype)
            where = f"step {taken.step + 1}, replica {replica + 1}"
            allowed: Allowed = {}
            for check in taken.checks(place, expected, self._optimisers[replica], u, self._terms):
                allowed.setdefault(check.name, []).append(unmultiplied(check))
                yield check.at(where)
            self._allowed[replica].append(allowed)

    def _diverged(self, name: str, taken: StepTaken, beyond: str) -> Check:
        """Leave open what no dtype can tell."""
        rates = np.unique(self._settings.learning_rate)
        at = f"step {taken.step + 1} at learning rate {', '.join(f'{rate:g}' for rate in rates)}"
        reason = f"Training diverged at {at}: {beyond}; lower training.learning_rate."
        return undecided(name, reason, source=EDGE)

    def _beyond(self, taken: StepTaken) -> dict[int, str]:
        """Say how a step leaves the range of the dtype, by place, where a correct one does, too."""
        if not taken.is_shaped(self._shapes):
            return {}
        reasons = {place: self._reason(taken.of([place])) for place in range(len(taken.replicas))}
        return {place: reason for place, reason in reasons.items() if reason}

    def _reason(self, taken: StepTaken) -> str:
        """Say how a correct step of a single replica leaves the range of the dtype, if it does."""
        dtype, problem = self._backend.dtype, self._at(taken, 0)
        try:
            problem.demand_range(dtype)
            if taken.well_formed(self._shapes).passed:
                return ""
            if self._settings.objective == "energy" and problem.network.is_linear:
                problem.demand_definite(dtype)
        except UndecidableError as error:
            return str(error)
        result = self._infer(taken)
        if result is not None:
            result = result.each(partial(_of, place=0))
            if not np.isfinite(result.energy):
                return ""
            left = InferenceJudge(problem, dtype).force(result)
            if not left**2 <= float(np.finfo(dtype).max):
                return f"the force that inference left, {left:.2g}, has no square in {dtype}"
        largest = float(np.finfo(dtype).max)
        # Times a gradient of 0 it is no number, either.
        if not np.max(self._settings.learning_rate) * self._settings.scale <= largest:
            return f"the rate itself leaves the range of {dtype}"
        expected = expect(problem, self._settings, dtype, result)
        u = unit_roundoff(dtype)
        for own, before, gradient, off in zip(
            self._optimisers[taken.replicas[0]],
            problem.parameters,
            expected.gradients,
            expected.gradients_off,
            strict=True,
        ):
            for name, array in (("gradients", gradient), ("parameters", before)):
                norm = float(np.linalg.norm(array))
                if not norm**2 <= largest:
                    return f"the norm of an array of {name}, {norm:.2g}, has no square in {dtype}"
            with np.errstate(over="ignore", invalid="ignore"):
                after, _ = own.step(before, gradient, off, u, self._terms)
            if not np.abs(after).max() <= largest:
                return f"a correct step leaves the range of {dtype}"
        return ""

    def _at(self, taken: StepTaken, place: int, *, after: bool = False) -> Problem:
        """Return a replica at a step: its parameters and its batch."""
        problem, rows = self._problem, taken.rows
        if rows is not None:
            problem = problem.rows(rows[0] if rows.ndim == 2 else rows[0, place])
        return problem.at([array[place] for array in (taken.after if after else taken.before)])

    def _infer(self, taken: StepTaken) -> InferenceResult | None:
        """Where the backend's own inference ends, of all replicas at once, as in a step.

        ``None`` where the gradient is known without asking for it.
        """
        settings, seen = self._settings, self._problem
        exact = seen.network.is_linear and isinstance(settings.inference, ExactInference)
        if exact or settings.objective == "loss":
            return None
        # Batches may have the axis of replicas.
        seen = seen if taken.rows is None else seen.rows(taken.rows[0])
        return Subject(self._backend, seen, taken.before).infer(settings.inference)

    def _moved_on(self, model: Model[Any], running: list[int], taken: StepTaken) -> Check:
        """Check that the trainer's model is at the parameters that the trainer says."""
        problem, name = self._at(taken, 0, after=True), "loss of the model that training left"
        place = running.index(taken.replicas[0])
        try:
            problem.demand_range(self._backend.dtype)
        except UndecidableError as error:
            return self._diverged(name, taken, str(error))
        batch = Subject(self._backend, problem).batch
        return Basis(DEFINITION, "rounding of a loss (theory.md 4)").approx(
            name,
            self._backend.to_host(model.loss(*batch))[place],
            layered_loss(problem.layered, problem.x, problem.y, problem.precision),
            loss_off(problem, self._backend.dtype),
        )


def _of(array: Any, place: int) -> Any:
    """Return a replica's part of an answer."""
    return None if array is None else array[place, ...]
