"""A setting that is given and would have no effect is refused before anything runs."""

import numpy as np
import pytest

from pcbench.registry import CASES
from pcbench.runner import run_suites
from tests.helpers.toy_suites import load_suite

DATA = {"name": "toy_gaussian", "samples": 8, "dimension": 2}
NETWORK = {"hidden_layers": 2, "width": 3}
EXACT = {"exact": {"engine": "exact"}}
DESCENT = {"descent": {"engine": "gradient"}}
RATES = {"matched": 0.1, "published": 0.01}
ESCAPE = {"data": DATA, "network": NETWORK, "training": {"learning_rate": 0.1, "steps": 50}}
POSED = {"data": DATA, "network": NETWORK}
COMPLETION = {"data": {"name": "low_rank_matrix", "observed": 1.0}}


def parameters(kind, settings):
    return CASES.load(kind).Parameters.model_validate(settings)


@pytest.mark.parametrize(
    ("kind", "settings", "extra", "unused"),
    [
        ("inference_cost", {**POSED, "engines": EXACT}, {"early": [1]}, "early"),
        ("inference_cost", {**POSED, "engines": EXACT}, {"steps": [1]}, "steps"),
        (
            "inference_cost",
            {"data": DATA, "network": {**NETWORK, "activation": "tanh"}, "engines": DESCENT},
            {"steps": [1]},
            "steps",
        ),
        (
            "inference_cost",
            {**POSED, "engines": DESCENT},
            {"engines": {"descent": {"engine": "gradient", "residual": 1e-3}}},
            r"engines\.descent\.residual",
        ),
        (
            "equilibrium",
            {**POSED, "engines": DESCENT},
            {"engines": {"descent": {"engine": "gradient", "smallest_step": 0.01}}},
            "smallest_step",
        ),
        ("landscape", {**POSED, "directions": "random"}, {"curvature_of": "loss"}, "curvature_of"),
        ("hessian_spectrum", {**POSED, "probes": 0}, {"density_steps": 5}, "density_steps"),
        ("matrix_completion", COMPLETION, {"masking": "both"}, "masking"),
        (
            "origin_escape",
            ESCAPE,
            {"training": {"learning_rate": RATES, "steps": 50}},
            r"learning_rate\.published",
        ),
        (
            "origin_escape",
            {**ESCAPE, "scaling": "published"},
            {"training": {"learning_rate": RATES, "steps": 50}},
            r"learning_rate\.matched",
        ),
    ],
)
def test_a_setting_without_effect_is_refused_with_its_name(kind, settings, extra, unused):
    settings = {**settings}
    if kind == "origin_escape":
        settings["data"] = {**DATA, "samples": 64}
    parameters(kind, settings)
    with pytest.raises(ValueError, match=f"{unused}.* unused|{unused}.* go unused"):
        parameters(kind, {**settings, **extra})


def test_seeds_that_would_all_be_the_same_run_are_refused(tmp_path):
    path = tmp_path / "point.npz"
    np.savez(path, W_1=np.ones((3, 2)), W_2=np.ones((2, 3)))
    network = {"widths": [3], "initialisation": {"name": "saved", "path": str(path)}}
    batched = {"learning_rate": 0.1, "steps": 50, "batch": 4}
    parameters("origin_escape", {"data": DATA, "network": network, "training": batched})
    with pytest.raises(ValueError, match="the same for every seed"):
        parameters(
            "origin_escape",
            {"data": DATA, "network": network, "training": {**batched, "batch": None}},
        )


@pytest.mark.usefixtures("timed_twice")
@pytest.mark.parametrize("kind", ["origin_hessian", "zero_rank_saddle"])
def test_hessians_during_inference_that_are_too_large_are_said_to_be_left_out(
    tmp_path, kind, monkeypatch
):
    monkeypatch.setattr("pcbench.judges.saddle.MAX_PARAMETERS", 10)
    suite = tmp_path / "during.yaml"
    suite.write_text(
        f"suite: during\ncases: [{{id: one, kind: {kind}, data: {DATA}, "
        f"network: {{hidden_layers: 2, width: 3}}, during: {{steps: [1]}}}}]\n"
    )
    (case,) = run_suites([load_suite(suite)]).cases
    assert case.status == "passed", case.message
    assert "Hessians during inference" in str(case.omitted)
