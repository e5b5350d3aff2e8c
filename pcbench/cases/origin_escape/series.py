"""What a training run leaves for plots."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from jaxtyping import Float

from pcbench.case import Columns
from pcbench.cases.origin_escape.run import Outcome
from pcbench.judges.training.curves import Scaling
from pcbench.statistics import Times, paired_ratio

MOST_ROWS = 400
"""Of a series: a plot shows no more, and a report of a hundred thousand steps would be large."""


def series(label: str, outcome: Outcome) -> Iterator[Columns]:
    """Yield losses, norms, tests and trajectories of one learner."""
    course, tests = outcome.course, outcome.tests
    rows = _thinned(len(course.losses))
    yield _by_seed(f"training of {label}", rows, {"loss": course.losses, "energy": course.energies})
    rows = _thinned(len(course.recorded))
    norms = np.linalg.norm(course.gradient_norms, axis=2)
    whole = {"gradient norm": norms, "residual of inference": course.residuals}
    columns = _by_seed(f"norms of {label}", rows, whole, course.recorded)
    columns.columns["inference steps"] = course.inference_steps[rows].tolist()
    yield columns
    # Of each layer the median over seeds is enough for a plot, and a report holds few numbers.
    middle = {
        f"{what} of parameter {index + 1}": _median(array[rows, :, index])
        for what, array in (
            ("gradient norm", course.gradient_norms),
            ("norm", course.parameter_norms),
        )
        for index in range(array.shape[2])
    }
    steps = {"step": course.recorded[rows].astype(float).tolist()}
    yield Columns(f"layers of {label}, median of seeds", steps | middle)
    if tests.steps:
        measured = {"loss": np.array(tests.losses)}
        if tests.accuracies:
            measured["accuracy"] = np.array(tests.accuracies)
        rows = _thinned(len(tests.steps))
        yield _by_seed(f"tests of {label}", rows, measured, np.array(tests.steps))
    if outcome.trajectory:
        path = np.array(outcome.trajectory)  # (looks, R, P)
        for seed in range(path.shape[1]):
            columns = Columns(
                f"path of {label}, seed {seed + 1}", {"step": [float(k) for k in range(len(path))]}
            )
            for index in range(path.shape[2]):
                columns.columns[f"parameter {index + 1}"] = path[:, seed, index].tolist()
            yield columns


def comparison(scaling: Scaling, pc: Times, bp: Times) -> Columns:
    """Return the numbers behind a claim, for plots and other tests."""
    ratio = paired_ratio(pc, bp)
    return Columns(
        f"steps to escape, {scaling} scaling",
        {
            "PC": pc.times.tolist(),
            "PC escaped": pc.observed.astype(float).tolist(),
            "BP": bp.times.tolist(),
            "BP escaped": bp.observed.astype(float).tolist(),
            # The same in every row: a series has columns of one length.
            "median ratio": [ratio.estimate] * len(pc.times),
            "ratio, low": [ratio.low] * len(pc.times),
            "ratio, high": [ratio.high] * len(pc.times),
            "confidence": [ratio.confidence] * len(pc.times),
        },
    )


def _by_seed(
    name: str,
    rows: np.ndarray,
    quantities: dict[str, Float[np.ndarray, "T R"]],
    steps: np.ndarray | None = None,
) -> Columns:
    """Make a column of every quantity and seed."""
    at = rows if steps is None else steps[rows]
    columns = {"step": [float(step) for step in at]}
    for quantity, values in quantities.items():
        for seed in range(values.shape[1]):
            columns[f"{quantity}, seed {seed + 1}"] = values[rows, seed].tolist()
    return Columns(name, columns)


def _thinned(length: int) -> np.ndarray:
    """Choose rows evenly, the first and the last among them."""
    return np.unique(np.linspace(0, max(length - 1, 0), min(length, MOST_ROWS)).astype(int))


def _median(values: Float[np.ndarray, "K R"]) -> list[float]:
    """Median of the seeds that still ran; NaN where none did."""
    ran = np.isfinite(values).any(axis=1)
    middle = np.full(len(values), np.nan)
    middle[ran] = np.nanmedian(values[ran], axis=1)
    return middle.tolist()
