"""Saved weights against the networks that they are for, whose ends only the data tell."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from pcbench import data
from pcbench.errors import UsageError
from pcbench.networks import ImpossibleNetworkError, NetworkParameters, NetworkSpec, Saved
from pcbench.suite import PlannedCase, Suite


def refuse_misfits(suites: Sequence[Suite], places: data.Places) -> None:
    """Make sure that saved weights fit, before anything runs.

    Raises
    ------
    UsageError
        If some do not, with a sentence for each file and network.
    """
    found = {
        str(misfit): f"{suite.path}: {case.id}: {misfit}"
        for suite in suites
        for case in suite.cases
        for misfit in _misfits(case, places)
    }
    if found:
        raise UsageError("\n".join(found.values()))


def _misfits(case: PlannedCase, places: data.Places) -> Iterator[ImpossibleNetworkError]:
    """Yield why the saved weights of a case do not fit, if it has any and they do not."""
    network = getattr(case.parameters, "network", None)
    asked = getattr(case.parameters, "data", None)
    if not (
        isinstance(network, NetworkParameters)
        and isinstance(network.initialisation, Saved)
        and isinstance(asked, data.DatasetParameters)
    ):
        return
    any_rng = np.random.default_rng(0)
    whole = _whole(network, asked, places, any_rng)
    try:
        if whole:
            network.initialisation.draw(whole, any_rng)
    except ImpossibleNetworkError as misfit:
        yield misfit


def _whole(
    network: NetworkParameters,
    asked: data.DatasetParameters,
    places: data.Places,
    rng: np.random.Generator,
) -> NetworkSpec | None:
    """Return the network between its inputs and outputs; ``None`` where the case is skipped."""
    try:
        samples = data.load(asked, rng, places)
        shape = samples.x.shape[1:]
        if len(shape) == 1 or network.convolutions:
            return network.specification(shape, samples.y.shape[1])
    except (data.DatasetError, ImpossibleNetworkError):
        pass  # it says so when it runs
    return None
