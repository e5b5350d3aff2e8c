"""Figures from reports: what they show, what breaks none, and the same bytes every time."""

import xml.etree.ElementTree as ET

import numpy as np
import pytest

from pcbench.figures import draw_report
from pcbench.figures.escape import _seeds
from pcbench.figures.style import styled
from pcbench.registry import FIGURES

STEPS = [0.0, 1.0, 2.0]
SPECTRUM = {
    "expected": [-2.0, 0.0],
    "multiplicity": [5.0, 40.0],
    "observed from": [-2.0, -1e-16],
    "observed to": [-2.0, 1e-16],
}
SIDE = np.linspace(-1, 1, 5)
U, V = (grid.ravel().tolist() for grid in np.meshgrid(SIDE, SIDE, indexing="ij"))
HEIGHTS = [u * u - v * v for u, v in zip(U, V, strict=True)]
RUN = {"step": STEPS, "loss, seed 1": [1.0, 0.5, None], "loss, seed 2": [1.0, 0.8, 0.1]}
NORMS = {"step": STEPS, "gradient norm, seed 1": [0.1, 0.2, None]}
SERIES = {
    "equilibrated_energy": {
        "training": {
            "step": STEPS,
            "loss": [3.0, 2.0, 1.0],
            "energy": [1.0, 0.5, 0.2],
            "theorem 1": [1.0, 0.5, 0.2],
        }
    },
    "landscape": {
        "directions": {"u": [1.0, 0.0], "v": [0.0, 1.0]},
        "plane along u and v": {"u": U, "v": V, "loss": HEIGHTS, "energy": HEIGHTS},
        "path 1 of BP": {"step": STEPS, "parameter 1": STEPS, "parameter 2": STEPS},
        "path 1 of PC": {"step": STEPS, "parameter 1": STEPS, "parameter 2": STEPS},
    },
    "matrix_completion": {
        "path of draw 1": {"step": STEPS, "loss": [9.0, 3.0, 1.0]},
        "saddles": {
            "draw": [1.0, 1.0, 2.0],
            "rank": [0.0, 1.0, 0.0],
            "step": [0.0, 1.0, 0.0],
            "loss": [9.0, 3.0, 9.0],
        },
        "BP: from draw 1, rank 0": {"step": STEPS, "loss on observed targets": [9.0, 8.0, 7.0]},
    },
    "origin_escape": {
        f"{what} {learner}, matched scaling": columns
        for learner in ("PC", "BP")
        for what, columns in (("training of", RUN), ("norms of", NORMS))
    },
    "origin_hessian": {"spectrum of the loss": SPECTRUM, "spectrum of the energy": SPECTRUM},
    "zero_rank_saddle": {"spectrum of the energy": SPECTRUM},
}


def test_each_kind_that_has_figures_is_tried_here():
    assert {*FIGURES.names()} == {*SERIES}


@pytest.fixture
def report(make_case, make_report):
    cases = [make_case(f"of-{kind}", kind=kind, series=series) for kind, series in SERIES.items()]
    return make_report(*cases, make_case("without", kind="conformance"))


@pytest.mark.parametrize("format", ["svg", "png", "pdf"])
def test_every_figure_is_drawn_and_has_the_same_bytes_each_time(report, tmp_path, format):
    first, again = (list(draw_report(report, tmp_path / name, format)) for name in "ab")
    assert len(first) == len({*first}) == len(SERIES)
    for one, other in zip(first, again, strict=True):
        assert one.stat().st_size > 1000
        assert one.read_bytes() == other.read_bytes(), one


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("equilibrated_energy", ["training step", "energy per sample", "Theorem 1"]),
        ("landscape", ["loss, and paths of BP", "energy, and paths of PC"]),
        ("matrix_completion", ["rank 0", "rank 1", "loss on observed entries"]),
        ("origin_escape", ["training loss", "gradient norm", "PC", "BP", "matched scaling"]),
        ("origin_hessian", ["eigenvalue of the Hessian of the loss", "multiplicity", "theory"]),
    ],
)
def test_a_figure_says_what_it_shows(report, tmp_path, kind, words):
    [path] = [
        each for each in draw_report(report, tmp_path, "svg") if kind.replace("_", "-") in each.name
    ]
    said = "\n".join(ET.parse(path).getroot().itertext())
    for word in words:
        assert word in said
    assert f"of-{kind}" in said


@pytest.mark.parametrize("kind", SERIES)
def test_a_case_without_its_series_or_with_numbers_that_are_not_finite_breaks_nothing(
    make_case,
    make_report,
    tmp_path,
    kind,
):
    nothing = make_case("nothing", kind=kind, series={})
    null = {
        name: {column: [None] * len(values) for column, values in columns.items()}
        for name, columns in SERIES[kind].items()
    }
    list(
        draw_report(
            make_report(nothing, make_case("null", kind=kind, series=null)), tmp_path, "png"
        )
    )


def test_a_run_that_ended_is_held_at_its_last_value():
    np.testing.assert_array_equal(_seeds(RUN, "loss, seed "), [[1, 0.5, 0.5], [1, 0.8, 0.1]])


def test_the_style_of_the_user_is_left_alone():
    import matplotlib as mpl

    mpl.rcParams["font.size"] = 17
    try:
        with styled():
            assert mpl.rcParams["font.size"] == 9
        assert mpl.rcParams["font.size"] == 17
    finally:
        mpl.rcdefaults()
