"""How figures look: print-legible, told apart without colour, and the same bytes every time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, Literal

import matplotlib as mpl
import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure

# Okabe and Ito's colours, which readers with any colour vision tell apart.
BLUE: Final = "#0072B2"
ORANGE: Final = "#D55E00"
GREEN: Final = "#009E73"
GREY: Final = "#6b6b6b"
LEARNERS: Final = {"PC": (BLUE, "-"), "BP": (ORANGE, "--")}
"""Colour and dashes of the two learners in every figure."""
THEORY: Final[dict[str, Any]] = {
    "linestyle": "none",
    "marker": "o",
    "markersize": 5,
    "markerfacecolor": "none",
    "color": "black",
}
"""What the theory says is drawn in open circles; what was measured in lines or bars."""

_RC: Any = {
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 9,
    "legend.frameon": False,
    "lines.linewidth": 1.4,
    "figure.dpi": 150,
    "savefig.bbox": "tight",
    "svg.fonttype": "none",  # text stays text
    "svg.hashsalt": "pcbench",  # else identifiers differ from run to run
    "pdf.fonttype": 42,
}
# What says when a file was made, and by what, would make each file another.
_METADATA: dict[str, dict[str, None]] = {
    "svg": {"Date": None},
    "pdf": {"CreationDate": None},
    "png": {"Software": None},
}


@contextmanager
def styled() -> Iterator[None]:
    """Draw in this style, whatever the user's own is."""
    with mpl.rc_context():
        mpl.rcdefaults()
        mpl.rcParams.update(_RC)
        yield


def panels(count: int, *, width: float = 3.2, height: float = 2.5) -> tuple[Figure, list[Axes]]:
    """Return a figure with so many panels side by side, sizes in inches."""
    figure = Figure(figsize=(width * count, height), layout="constrained")
    return figure, list(figure.subplots(1, count, squeeze=False)[0])


Series = Mapping[str, Sequence[float | None]]
"""Columns of a report, by name; what was not finite is null there."""


def column(series: Series, name: str) -> Float[np.ndarray, " n"]:
    """Return a column, NaN where it is null: nothing is drawn there."""
    return np.array(series[name], float)


def legend(axes: Axes, place: Literal["best", "upper left"] = "best") -> None:
    """Name what is drawn, if anything is."""
    if axes.get_legend_handles_labels()[0]:
        axes.legend(loc=place)


def save(figure: Figure, path: Path, format: str) -> None:
    """Write a figure."""
    figure.savefig(path, format=format, metadata=_METADATA[format])
