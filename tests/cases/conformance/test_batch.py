"""A sample among others ends where it ends alone, and what divides the output term is named."""

import pytest
import torch

from pcbench.backends.torch import TorchBackend, gauss_newton
from pcbench.cases.conformance.inference.batch import _guess
from tests.cases.conformance.faulty import FAULTS
from tests.cases.conformance.questions import ask, failed
from tests.cases.faulty.catalogued import as_backend
from tests.cases.faulty.engines import WithInference

pytestmark = pytest.mark.usefixtures("without_shapes")

ENGINES = ("exact", "gradient", "ode", "gauss_newton", "error")
SHARE, ALONE = "share of the output's error", "a sample alone and among others"
# One network with 6 samples and 7 outputs, which no two of the divisors have in common.
DRAW = {"width": [7, 7], "samples": [6, 6], "depth": [2, 2], "gain": [0.8, 1.2]}


def dividing(divisor):
    """A backend whose output term is divided in inference, and nowhere else."""

    class Divides(WithInference):
        def infer(self, model, honest, x, y, settings, precision=None):
            return honest(x, y, settings, torch.full_like(y, 1 / divisor))

    return Divides


def asked(backend, **more):
    return ask(backend, "inference", networks=1, draw=DRAW, **more)


@pytest.mark.parametrize("engine", ENGINES)
def test_every_engine_is_asked_for_a_sample_alone_and_for_the_share_of_the_output(engine):
    result = asked(TorchBackend, engine=engine)
    names = {check.name for check in result.checks}
    assert {f"{engine}: {SHARE}", f"{engine}: {ALONE}"} <= names
    assert result.status == "passed"
    for name, check in (("OutputTermAveraged", SHARE), ("LeaksIntoOthers", ALONE)):
        assert f"{engine}: {check}" in failed(asked(FAULTS[name][0], engine=engine))


@pytest.mark.parametrize(
    ("divisor", "words"),
    [
        (42, "divided by 6·7: a mean over batch and outputs?"),
        (21, "divided by 6·7/2: a mean of squares over batch and outputs, without ½?"),
        (6, "divided by 6: a mean over the batch?"),
        (7, "divided by 7: a mean over outputs?"),
        (3.5, "divided by 7/2: a mean of squares over outputs, without ½?"),
        (0.5, "divided by ½: a square without ½?"),
        (1.1, "none of the usual means"),
    ],
)
def test_a_failure_names_the_mean_that_divides_the_output_term(divisor, words):
    result = asked(dividing(divisor), engine="exact")
    [check] = [check for check in result.checks if check.name.endswith(SHARE)]
    assert not check.passed
    assert words in check.where
    assert check.observed == pytest.approx(1 / divisor, rel=1e-6)


def test_where_two_means_divide_alike_both_are_named():
    assert _guess(1 / 7, 2, 7).count("?") == 2


def test_the_share_is_asked_of_other_activations_too():
    found = ask(FAULTS["OutputTermAveraged"][0], "tanh")
    assert f"gauss_newton: {SHARE}" in failed(found)


def test_a_batch_of_one_or_a_single_output_has_no_mean_to_ask_about():
    for one in ({"samples": [1, 1]}, {"width": [1, 1]}):
        result = ask(TorchBackend, "inference", networks=1, draw=DRAW | one)
        assert result.status == "passed"
        assert not [check for check in result.checks if check.name.endswith(SHARE)]


# What has no single equilibrium: a smooth network, and one of rectifiers.
SMOOTH = {"networks": 1, "draw": {"layers": "smooth", "depth": [3, 3], "width": [6, 6]}}
KINKED = {"networks": 3, "only": 2, "draw": SMOOTH["draw"] | {"layers": "nonlinear"}}
FEW = {"samples": [6, 6]}


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize(
    ("networks", "engines"),
    [(SMOOTH, ENGINES[1:]), (KINKED, ("gradient", "gauss_newton", "error"))],
)
def test_in_networks_that_are_not_linear_a_sample_takes_the_steps_that_it_takes_alone(
    networks, engines, dtype
):
    asked_of = networks | {"draw": networks["draw"] | FEW}
    result = ask(TorchBackend, "inference", dtype, **asked_of)
    assert result.status == "passed"
    names = {check.name for check in result.checks if check.name.endswith(ALONE)}
    assert names == {f"{engine}: {ALONE}" for engine in engines}


def test_who_descends_on_a_mean_of_energies_fails_for_that_alone():
    smooth = {"draw": SMOOTH["draw"] | FEW, "networks": 1}
    for engine in ("error", "ode"):
        result = ask(as_backend("StepsOfTheMean"), "inference", engine=engine, **smooth)
        assert failed(result) == {f"{engine}: {ALONE}"}
    kinked = KINKED | {"draw": KINKED["draw"] | FEW}
    result = ask(as_backend("StepsOfTheMean"), "inference", engine="gradient", **kinked)
    assert failed(result) == {f"gradient: {ALONE}"}


def test_damping_that_samples_share_fails(monkeypatch):
    honest = gauss_newton._damp
    monkeypatch.setattr(
        gauss_newton,
        "_damp",
        lambda *given: honest(*given).mean(-1, keepdim=True).expand_as(given[0]),
    )
    steep = {"draw": SMOOTH["draw"] | FEW | {"gain": [3.0, 3.0]}, "networks": 1}
    result = ask(TorchBackend, "inference", engine="gauss_newton", **steep)
    assert failed(result) == {f"gauss_newton: {ALONE}"}
