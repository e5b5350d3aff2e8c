"""Backends that train by another rule than they are asked to, or take other steps."""

from __future__ import annotations

from dataclasses import replace

from pcbench.audit import Part
from pcbench.audit.tables import faults
from pcbench.contract import Backend
from tests.cases.faulty.catalogued import as_backends


def retrained(change):
    """Change the settings of training."""
    return lambda q: q.ask(settings=replace(q.settings, **change(q.settings)))


def ascending(objective):
    return retrained(lambda asked: {"scale": -1.0} if asked.objective == objective else {})


LEARNER_FAULTS: dict[str, type[Backend]] = as_backends(
    "PredictiveCodingIsBackpropagation",
    "BackpropagationInfers",
    *faults(Part.TRAINING, "trainer")(
        TwiceTheStep=(
            "A factor of 2 lost from the objective.",
            retrained(lambda asked: {"learning_rate": 2 * asked.learning_rate}),
        ),
        StandsStill=("No update is made.", retrained(lambda asked: {"scale": 0.0})),
        AscentByPredictiveCoding=("PC's gradient has the wrong sign.", ascending("energy")),
        AscentByBackpropagation=("BP's gradient has the wrong sign.", ascending("loss")),
    ),
)
