"""Saved weights against the networks that they are for, whose ends only the data tell."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pcbench import data
from pcbench.errors import UsageError
from pcbench.networks import ImpossibleNetworkError, NetworkParameters, NetworkSpec, Saved
from pcbench.suite import Suite


def refuse_misfits(suites: Sequence[Suite], places: data.Places) -> None:
    """Make sure that saved weights fit, before anything runs.

    Raises
    ------
    UsageError
        If some do not, with a sentence for each file and network.
    """
    found: dict[str, str] = {}  # sentences, by the file, the network and the data
    for suite in suites:
        for case in suite.cases:
            network = getattr(case.parameters, "network", None)
            asked = getattr(case.parameters, "data", None)
            if (
                isinstance(network, NetworkParameters)
                and isinstance(network.initialisation, Saved)
                and isinstance(asked, data.DatasetParameters)
            ):
                key = f"{network.initialisation.file} {network!r} {asked!r}"
                if key not in found:
                    misfit = _misfit(network, asked, places)
                    found[key] = misfit and f"{suite.path}: {case.id}: {misfit}"
    if misfits := [*filter(None, found.values())]:
        raise UsageError("\n".join(misfits))


def _misfit(network: NetworkParameters, asked: data.DatasetParameters, places: data.Places) -> str:
    """Say why saved weights do not fit; empty if they do."""
    any_rng = np.random.default_rng(0)
    whole = _whole(network, asked, places, any_rng)
    try:
        if whole:
            network.initialisation.draw(whole, any_rng)
    except ImpossibleNetworkError as misfit:
        return str(misfit)
    return ""


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
