"""The suites that come with pcbench: valid, complete, and passing where the data are."""

import os
from dataclasses import replace
from itertools import product

import jsonschema
import pytest

from pcbench.data import Places
from pcbench.runner import run_suites
from pcbench.suite import shipped_suites, suite_schema
from pcbench.suite.yaml.document import read_document
from tests.helpers.toy_suites import load_suite

pytestmark = pytest.mark.usefixtures("timed_twice")

# The sizes of the paper (Innocenti et al. 2024), figure by figure: data, coordinates and target of
# the toy data, units of each hidden layer.
FIGURE_1 = {
    (data, (300,) * depth)
    for data, depth in product(["mnist", "fashion_mnist", "cifar10"], [2, 5, 10])
}
TOY_2D = {("toy_gaussian", 2, "negated", widths) for widths in [(10,), (5, 5)]}
TOY_3D = {("toy_gaussian", 3, "negated", (4, 4, 4))}
TOY_3D_MIXED = {("toy_gaussian", 3, "mixed", (4, 4, 4, 4))}
CHAINS = {("toy_gaussian", 1, "negated", (1,) * depth) for depth in [1, 2, 5, 10]}
FIGURES_3_AND_8 = TOY_2D | TOY_3D | TOY_3D_MIXED | CHAINS
MNIST_DEEP = {("mnist", None, None, widths) for widths in [(5, 5, 5), (5, 5, 5, 5)]}
MNIST1D_DEEP = {("mnist1d", None, None, widths) for widths in [(10, 10, 10), (5, 5, 5, 5)]}
FIGURE_4 = {
    *MNIST_DEEP,
    *MNIST1D_DEEP,
    *(("mnist", None, None, widths) for widths in [(10,), (10, 10)]),
    *(("mnist1d", None, None, widths) for widths in [(100,), (50, 50)]),
}
FIGURES_9_AND_10 = TOY_3D | TOY_3D_MIXED | MNIST_DEEP | MNIST1D_DEEP

# What the suite has beyond the paper: shallower networks, and data that every machine has.
BEYOND_FIGURE_1 = {
    (data, (300,) * depth)
    for data, depth in product(
        ["mnist", "fashion_mnist", "cifar10", "toy_gaussian", "mnist1d"], [1, 2, 5, 10]
    )
} - FIGURE_1


# Which kinds of cases stand for which figure in the suite `paper`. Figures that show the same cases
# share them.
FIGURES = {
    "1": {"equilibrated_energy"},
    "2": {"landscape"},
    "2, 7": {"origin_escape"},
    "3, 8": {"origin_hessian"},
    "4": {"origin_hessian"},
    "5, 11": {"origin_escape"},
    "6": {"matrix_completion"},
    "9, 10": {"zero_rank_saddle"},
    "12": {"origin_escape"},
}


@pytest.fixture(scope="module")
def theory():
    return load_suite("theory")


@pytest.fixture(scope="module", params=["quick", "full"])
def paper(request):
    return load_suite("paper", size=request.param)


@pytest.fixture(scope="module")
def schema():
    return suite_schema()


def of_kind(suite, kind):
    """Return the parameters of a kind's cases."""
    return [case.parameters for case in suite.cases if case.kind == kind]


def size(parameters):
    data = parameters.data
    toy = (getattr(data, "dimension", None), getattr(data, "target", None))
    return (data.name, *toy, parameters.network.hidden)


# What they contain


@pytest.mark.parametrize("name", shipped_suites())
def test_a_shipped_suite_is_valid_and_its_identifiers_are_unique(name):
    for size in load_suite(name).sizes:
        suite = load_suite(name, size=size)
        identifiers = [case.id for case in suite.cases]
        assert (suite.name, suite.size) == (name, size)
        assert suite.description
        assert len(identifiers) == len(set(identifiers)) > 0


@pytest.mark.parametrize("name", shipped_suites())
def test_an_editor_finds_nothing_wrong_with_a_shipped_suite(name, schema):
    document, _ = read_document(shipped_suites()[name])
    jsonschema.Draft202012Validator(schema).validate(document.plain())


def test_the_theory_is_shipped():
    assert "theory" in shipped_suites()


def test_theory_has_the_sizes_of_figure_1(theory):
    exact = [
        parameters
        for parameters in of_kind(theory, "equilibrated_energy")
        if parameters.inference.engine == "exact"
    ]
    sizes = [(parameters.data.name, parameters.network.hidden) for parameters in exact]
    assert len(sizes) == len(set(sizes))
    assert set(sizes) == FIGURE_1 | BEYOND_FIGURE_1
    for training in (parameters.training for parameters in exact):
        assert (training.steps, training.learning_rate, training.batch) == (100, 1e-3, 64)


def test_theory_has_the_sizes_of_figures_3_4_and_8(theory):
    sizes = [size(parameters) for parameters in of_kind(theory, "origin_hessian")]
    assert len(sizes) == len(set(sizes))
    assert set(sizes) == FIGURES_3_AND_8 | FIGURE_4


def test_theory_has_the_sizes_of_figures_9_and_10_at_both_sorts_of_saddle(theory):
    saddles = [
        (*size(parameters), parameters.network.initialisation.name)
        for parameters in of_kind(theory, "zero_rank_saddle")
    ]
    assert len(saddles) == len(set(saddles))
    assert set(saddles) == {
        (*sizes, sort)
        for sizes, sort in product(FIGURES_9_AND_10, ["penultimate_only", "zero_rank"])
    }


def test_theory_takes_hessians_of_one_batch_of_64(theory):
    for kind in ("origin_hessian", "zero_rank_saddle"):
        assert {parameters.data.samples for parameters in of_kind(theory, kind)} == {64}


# The figures of the paper


def of_figure(suite, figure):
    """Return the parameters of a figure's cases."""
    return [case.parameters for case in suite.cases if case.figure == figure]


def test_every_figure_has_cases_of_its_kind_in_the_order_of_the_paper(paper):
    found = {}
    for case in paper.cases:
        found.setdefault(case.figure, set()).add(case.kind)
    assert found == FIGURES
    firsts = [int(figure.split(",")[0]) for figure in found]
    assert firsts == sorted(firsts)


def test_the_paper_has_the_sizes_of_figure_1_and_in_full_its_steps(paper):
    cases = of_figure(paper, "1")
    sizes = [(parameters.data.name, parameters.network.hidden) for parameters in cases]
    assert len(sizes) == len(set(sizes))
    assert set(sizes) == FIGURE_1
    assert {parameters.inference.engine for parameters in cases} == {"exact"}
    for training in (parameters.training for parameters in cases):
        assert (training.learning_rate, training.batch) == (1e-3, 64)
        assert training.steps == {"quick": 20, "full": 100}[paper.size]


def test_the_paper_has_the_networks_of_figure_2_at_the_origin(paper):
    cases = of_figure(paper, "2")
    assert {size(parameters) for parameters in cases} == {
        ("toy_gaussian", 1, "negated", (1,)),
        ("toy_gaussian", 1, "negated", (1, 1)),
        ("toy_gaussian", 3, "negated", (4, 4, 4)),
    }
    assert {parameters.network.initialisation.name for parameters in cases} == {"origin"}
    chains = [parameters.paths for parameters in cases if parameters.network.hidden[0] == 1]
    assert {(paths.std, paths.learning_rate, paths.batch) for paths in chains} == {(0.05, 0.4, 64)}
    assert {paths.starts for paths in chains} == {{"quick": 3, "full": 5}[paper.size]}


@pytest.mark.parametrize(
    ("figure", "sizes"),
    [("3, 8", FIGURES_3_AND_8), ("4", FIGURE_4), ("9, 10", FIGURES_9_AND_10)],
)
def test_the_paper_has_the_sizes_of_its_hessians(paper, figure, sizes):
    cases = of_figure(paper, figure)
    assert len(cases) == len(sizes)
    assert {size(parameters) for parameters in cases} == sizes
    assert {parameters.data.samples for parameters in cases} == {64}
    if figure == "9, 10":
        saddles = {parameters.network.initialisation.name for parameters in cases}
        assert saddles == {"penultimate_only"}


# What they say


@pytest.mark.parametrize(
    ("kinds", "count", "overrides"),
    [
        # One step of training stands for a hundred; gradient steps grow in number with accuracy.
        ("equilibrated-energy", 8, ["training.steps=1", "data.samples=64"]),
        ("gradient", 6, ["training.steps=1", "inference.residual=1e-2"]),
        ("engines", 9, ["training.steps=1", "inference.residual=1e-2", "network.width=20"]),
        ("origin_hessian or zero_rank_saddle", 20, []),
    ],
)
def test_theory_passes_on_data_that_every_machine_has(tmp_path, kinds, count, overrides):
    suite = load_suite("theory", select=kinds, overrides=overrides)
    everywhere = ("toy_gaussian", "mnist1d")
    cases = tuple(case for case in suite.cases if case.parameters.data.name in everywhere)
    report = run_suites([replace(suite, cases=cases)], places=Places((), tmp_path))
    assert {case.id: case.message for case in report.cases if case.status != "passed"} == {}
    assert len(report.cases) == count


@pytest.mark.parametrize(
    ("kinds", "count", "overrides"),
    [
        # Few points and short paths stand for many: the same is asked of each.
        ("landscape-chain", 2, ["points=3", "paths.starts=1", "paths.steps=3"]),
        ("landscape-wide", 1, ["points=3"]),
        ("origin_hessian or zero_rank_saddle", 10, []),
    ],
)
def test_the_paper_passes_on_toy_data(tmp_path, kinds, count, overrides):
    suite = load_suite("paper", select=kinds, overrides=overrides)
    cases = tuple(case for case in suite.cases if case.parameters.data.name == "toy_gaussian")
    report = run_suites([replace(suite, cases=cases)], places=Places((), tmp_path))
    assert {case.id: case.message for case in report.cases if case.status != "passed"} == {}
    assert [case.figure for case in report.cases] == [case.figure for case in cases]
    assert len(report.cases) == count


SMALL = [
    "data.samples=4",
    "engines.gradient.max_steps=200",
    "engines.gradient.residual=0.1",
    "engines.error-based.residual=0.1",
    "engines.ode.residual=0.5",
    "directions=1",
]
CHEAP = ["data.samples=4", "network.width=10", "residuals=[0.1]", "early=[5]", "steps=[1, 7]"]


# Other variants of these cases differ in time alone; some are the faulty engines' reference.
@pytest.mark.parametrize(
    ("suite", "select", "overrides", "dtype"),
    [
        ("nonlinear", "smooth and silu and convention=pre and bias=true", SMALL, "float32"),
        ("nonlinear", "smooth and convention=post and bias=false", SMALL, "float64"),
        ("nonlinear", "masked-linear or (masked and tanh)", SMALL[:4], "float64"),
        ("nonlinear", "rectifiers and convention=pre", ["data.samples=4"], "float64"),
        ("nonlinear", "origin and widths=8x8 or origin-pre", ["directions=1"], "float64"),
        ("inference", "linear", CHEAP, "float32"),
        ("inference", "flow or usual", CHEAP[:3], "float32"),
        pytest.param(
            "inference",
            "contraction or depth or width",
            CHEAP[:3],
            "float64",
            marks=pytest.mark.slow,
        ),
    ],
)
def test_suites_of_inference_pass_where_they_are_made_small(suite, select, overrides, dtype):
    chosen = [*overrides, f"dtype={dtype}"]
    report = run_suites([load_suite(suite, select=select, overrides=chosen)])
    assert {case.id: case.message for case in report.cases if case.status != "passed"} == {}
    assert report.summary.passed > 0


IMAGES = "suite: images\ncases:\n" + "".join(
    f"  - {{id: {name}, kind: equilibrated_energy, network: {{widths: [2]}}, "
    f"data: {{name: {name}, samples: 4, split: {split}}}, training: {{steps: 1, batch: 2}}}}\n"
    for name, split in [("mnist", "test"), ("fashion_mnist", "train"), ("cifar10", "train")]
)


@pytest.fixture
def images(tmp_path):
    """A tiny case on each set of images."""
    path = tmp_path / "images.yaml"
    path.write_text(IMAGES)
    return load_suite(path)


@pytest.mark.skipif(
    not os.environ.get("PCBENCH_DATA"), reason="PCBENCH_DATA is not set: there are no images here"
)
def test_where_images_are_promised_their_cases_pass_and_are_not_skipped(images):
    report = run_suites([images])
    assert [(case.id, case.status, case.message) for case in report.cases] == [
        ("mnist", "passed", ""),
        ("fashion_mnist", "passed", ""),
        ("cifar10", "passed", ""),
    ]


def test_where_no_images_are_their_cases_are_skipped_with_reason_and_remedy(images, tmp_path):
    report = run_suites([images], places=Places((tmp_path,), tmp_path))
    assert [case.id for case in report.cases if case.status == "skipped"] == [
        "mnist",
        "fashion_mnist",
        "cifar10",
    ]
    for case in report.cases:
        assert f"split of {case.id} is not on this machine" in case.message
        assert "set PCBENCH_DATA to a directory that holds" in case.message


@pytest.mark.parametrize(
    ("suite", "select", "overrides"),
    [
        ("origin_escape", "chain and hidden_layers=1", ["training.steps=60", "seeds=5"]),
        (
            "matrix_completion",
            "linear and not whole",
            [
                "data={name: low_rank_matrix, samples: 5, columns: 5, rank: 2}",
                "network.widths=[6,6,6]",
                "training.steps=60",
                "escape.steps=40",
                "escape.finish=1",
                "draws=5",
            ],
        ),
    ],
)
def test_suites_of_training_pass_where_they_are_made_small(suite, select, overrides):
    report = run_suites([load_suite(suite, select=select, overrides=overrides)])
    messages = [case.message for case in report.cases if case.status != "passed"]
    # Short runs leave a claim open, and say so; nothing that is checked may fail.
    assert [message for message in messages if not message.startswith("unresolved: ")] == []
    assert all(check.passed for case in report.cases for check in case.checks)
    assert sum(len(case.checks) for case in report.cases) > 0
