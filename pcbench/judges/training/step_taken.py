"""One step that a trainer took, and what was recorded of it, against what is expected."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from itertools import pairwise
from typing import Any

import numpy as np
from jaxtyping import Float, Int, Num

from pcbench.checks import Check
from pcbench.contract import Record, Trainer
from pcbench.judges.basis import Basis
from pcbench.judges.reported import (
    CONTRACT,
    DEFINITION,
    STATIONARITY,
    array_names,
    differing,
    none_of,
)
from pcbench.judges.training.step_expected import Expected, gradient_norms, norm_off
from pcbench.theory.rounding.optimisers import GradientDescent

Parameters = list[Float[np.ndarray, "R ..."]]
Allowed = dict[str, list[float]]
"""By the name of a check, the tolerances of a step: one an array of parameters, or a single one."""

_MANY = 20
"""So many steps are taken in two runs."""

AFTER = "parameters after a step"
STEP = "the optimiser's step from the gradient of the theory (theory.md 2.1, 4.5)"
GRADIENT = "norm of the gradient of the theory (theory.md 2.1)"
# Which check judges what is recorded, of every step and of every second one.
_OF_EVERY = {"loss of a step": "losses", "energy of a step": "energies"}
_OF_SOME = {
    "gradient norms": "gradient_norms",
    "parameter norms": "parameter_norms",
    "residual of inference": "residuals",
}


@dataclass(frozen=True, slots=True)
class StepTaken:
    """A step of all replicas that run.

    ``step`` is its number, from 0; ``replicas`` are those that run, of all at the start; ``rows``
    their batch, ``None`` for all samples. ``brought`` are their parameters as the trainer gave them
    to the host before the step, looked at after it.
    """

    step: int
    replicas: list[int]
    rows: Int[np.ndarray, "1 *R N"] | None
    brought: Parameters
    before: Parameters
    after: Parameters
    record: Record

    def of(self, places: Sequence[int]) -> StepTaken:
        """Return the step of the replicas at those places alone; shapes have to be as due."""
        chosen, record, rows = list(places), self.record, self.rows
        if chosen == list(range(len(self.replicas))):
            return self
        each = {**_OF_EVERY, **_OF_SOME}.values()
        return StepTaken(
            self.step,
            [self.replicas[place] for place in chosen],
            rows if rows is None or rows.ndim == 2 else rows[:, chosen],
            [array[chosen] for array in self.brought],
            [array[chosen] for array in self.before],
            [array[chosen] for array in self.after],
            replace(record, **{name: getattr(record, name)[:, chosen] for name in each}),
        )

    def well_formed(self, shapes: Sequence[tuple[int, ...]]) -> Check:
        """Check that every array has the shape that is due, and holds numbers."""
        due = self._due(shapes)
        finite = [all(np.isfinite(array).all() for array in arrays) for arrays, _ in due]
        shaped = [[array.shape for array in arrays] == right for arrays, right in due]
        hint = ", numbers that are not finite, where a correct step stays in range"
        return none_of(
            "malformed answers of training",
            sum(not (holds and fits) for holds, fits in zip(finite, shaped, strict=True)),
            len(due),
            "answers",
            source=CONTRACT,
            where=f"step {self.step + 1}{'' if all(finite) else hint}",
        )

    def is_shaped(self, shapes: Sequence[tuple[int, ...]]) -> bool:
        """Whether every array has the shape that is due, whatever it holds."""
        due = self._due(shapes)
        every = [*due, (self.brought, due[-1][1])]
        return all([array.shape for array in arrays] == right for arrays, right in every)

    def _due(
        self, shapes: Sequence[tuple[int, ...]]
    ) -> list[tuple[list[Num[np.ndarray, "..."]], list[tuple[int, ...]]]]:
        """Return every answer, its arrays with the shapes that are due."""
        replicas, record = len(self.replicas), self.record
        recorded: list[tuple[Num[np.ndarray, "..."], tuple[int, ...]]] = [
            (record.losses, (1, replicas)),
            (record.energies, (1, replicas)),
            (record.recorded, (1,)),
            (record.gradient_norms, (1, replicas, len(shapes))),
            (record.parameter_norms, (1, replicas, len(shapes))),
            (record.inference_steps, (1,)),
            (record.residuals, (1, replicas)),
        ]
        due = [(replicas, *shape) for shape in shapes]
        return [
            *(([array], [shape]) for array, shape in recorded),
            (self.before, due),
            (self.after, due),
        ]

    def checks(
        self,
        place: int,
        expected: Expected,
        optimisers: Sequence[GradientDescent],
        u: float,
        terms: int,
    ) -> Iterator[Check]:
        """Judge the step of the replica at a place.

        Its ``optimisers``, one an array of parameters, take the step, too; ``terms`` says in how
        many terms a change may be added to its parameter.
        """
        rounding = f"rounding at u = {u:.2g} of gradient and step (theory.md 4.5)"
        step, norm, size = (Basis(source, rounding) for source in (STEP, GRADIENT, DEFINITION))
        names, record, norms = array_names(expected.gradients), self.record, list[Check]()
        for index, (own, gradient, off) in enumerate(
            zip(optimisers, expected.gradients, expected.gradients_off, strict=True)
        ):
            before, after, at = self.before[index][place], self.after[index][place], names[index]
            due, due_off = own.step(before, gradient, off, u, terms)
            yield step.distance(AFTER, after, due, due_off, at)
            seen, was = record.parameter_norms[0, place, index], np.linalg.norm(before)
            off = norm_off(was, before.size, 0.0, u)
            norms.append(size.approx("parameter norms", seen, was, off, at))
        seen = record.gradient_norms[0, place]
        yield from gradient_norms(norm, "gradient norms", seen, expected, u, names)
        yield from norms
        evaluation = f"rounding at u = {u:.2g} (theory.md 4)"
        value, rest = Basis(DEFINITION, evaluation), Basis(STATIONARITY, evaluation)
        loss, energy = record.losses[0, place], record.energies[0, place]
        yield value.approx("loss of a step", loss, expected.loss, expected.loss_off)
        yield value.approx("energy of a step", energy, expected.energy, expected.energy_off)
        residual = record.residuals[0, place]
        yield rest.approx(
            "residual of inference", residual, expected.residual, expected.residual_off
        )


def one_run(
    trainer: Trainer[Any], taken: Sequence[StepTaken], allowed: Sequence[Sequence[Allowed]]
) -> Iterator[Check]:
    """Check that steps taken in one run are those that were taken one by one.

    Many are taken in two runs, so that the second has to go on where the first has ended. The
    trainer is a fresh one; ``allowed`` has by replica what each step that was judged may be off by.
    """
    rows = None if taken[0].rows is None else np.concatenate([step.rows for step in taken])
    steps = len(taken)
    # Of an even number, so that every second step is recorded throughout.
    cuts = [0, steps] if steps < _MANY else [0, steps // 4 * 2, steps]
    records = [
        trainer.run(end - begin, None if rows is None else rows[begin:end], every=2)
        for begin, end in pairwise(cuts)
    ]
    record = _joined(records, cuts)
    reached = trainer.parameters()
    followed = {replica: one for replica, one in enumerate(allowed) if len(one) == steps}
    twice = Basis(CONTRACT, "what rounding may do to either, step by step, twice")
    for replica, tolerances in followed.items():
        names = array_names([array[replica] for array in reached])
        for index, (one, other) in enumerate(zip(reached, taken[-1].after, strict=True)):
            # Two courses, and as much again for what their distance changes in later gradients.
            off = 4 * sum(step[AFTER][index] for step in tolerances)
            at = f"{names[index]}, replica {replica + 1}"
            yield twice.distance("steps taken in one run", one[replica], other[replica], off, at)
    yield differing("steps recorded in one run", [record.recorded], [np.arange(0, steps, 2)])
    # Elsewhere slopes of what is recorded would be needed, and it is not compared.
    if all(np.array_equal(a, b) for a, b in zip(reached, taken[-1].after, strict=True)):
        yield from _one_record(record, [step.record for step in taken], followed)


def _joined(records: Sequence[Record], begins: Sequence[int]) -> Record:
    """Return what runs that follow each other recorded, as if it were one run."""
    counted = [
        replace(record, recorded=record.recorded + begin)
        for record, begin in zip(records, begins, strict=False)
    ]
    names = [field.name for field in fields(Record)]
    return Record(**{n: np.concatenate([getattr(one, n) for one in counted]) for n in names})


def _one_record(
    record: Record, single: Sequence[Record], allowed: Mapping[int, Sequence[Allowed]]
) -> Iterator[Check]:
    """Check what one run recorded, of the same course to the last bit, against single steps.

    A run is another program than a step, and may round in another order: each is off by no more
    than what a single step is allowed.
    """
    name = "what one run records"
    either = Basis(CONTRACT, "what rounding may do to either")
    for check, field in {**_OF_EVERY, **_OF_SOME}.items():
        steps = range(0, len(single), 2 if check in _OF_SOME else 1)
        seen = getattr(record, field)
        due = np.concatenate([getattr(single[step], field) for step in steps])
        yield differing(name, [np.array(seen.shape)], [np.array(due.shape)])
        if seen.shape != due.shape:
            return
        for replica, tolerances in allowed.items():
            for place, step in enumerate(steps):
                for one, other, off in zip(
                    np.atleast_1d(seen[place, replica]),
                    np.atleast_1d(due[place, replica]),
                    tolerances[step][check],
                    strict=True,
                ):
                    at = f"{check}, step {step + 1}, replica {replica + 1}"
                    yield either.approx(name, one, other, 2 * off, at)
