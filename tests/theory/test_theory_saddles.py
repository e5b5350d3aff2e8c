"""Theorems 2 and 3 where they meet, and what they imply about strictness."""

import numpy as np
import pytest
from closeness import SAME, apart
from hypothesis import given, settings
from linear_problems import points, problem_at, widths

from pcbench import theory
from pcbench.networks import Origin, PenultimateOnly, ZeroRank

OBJECTIVES = ("loss", "energy")
quick = settings(max_examples=40, deadline=None)


@pytest.mark.parametrize("objective", OBJECTIVES)
@quick
@given(point=points([Origin()], widths(min_layers=2)))
def test_the_two_theorems_agree_at_the_origin(objective, point):
    problem = problem_at(*point)
    args = (problem.x, problem.y, objective)
    sizes = problem.network.widths
    assert (
        apart(
            theory.origin_hessian(sizes, *args).toarray(),
            theory.zero_rank_hessian(problem.weights, *args).toarray(),
        )
        < SAME
    )
    assert (
        apart(
            theory.origin_spectrum(sizes, *args), theory.zero_rank_spectrum(problem.weights, *args)
        )
        < SAME
    )


@pytest.mark.parametrize("objective", OBJECTIVES)
@quick
@given(point=points([ZeroRank(), PenultimateOnly()], widths(min_layers=3, min_width=2)))
def test_spectra_are_the_eigenvalues_of_the_hessians_and_ascend(objective, point):
    problem = problem_at(*point)
    spectrum = theory.zero_rank_spectrum(*problem.parts, objective)
    hessian = theory.zero_rank_hessian(*problem.parts, objective).toarray()
    np.testing.assert_array_equal(spectrum, np.sort(spectrum))
    assert apart(spectrum, np.linalg.eigvalsh(hessian)) < SAME


@quick
@given(point=points([Origin()], widths(min_layers=2)))
def test_origin_spectra_are_the_eigenvalues_of_the_hessians_and_ascend(point):
    problem = problem_at(*point)
    for objective in OBJECTIVES:
        args = (problem.network.widths, problem.x, problem.y, objective)
        spectrum = theory.origin_spectrum(*args)
        np.testing.assert_array_equal(spectrum, np.sort(spectrum))
        assert apart(spectrum, np.linalg.eigvalsh(theory.origin_hessian(*args).toarray())) < SAME


@quick
@given(point=points([ZeroRank(), PenultimateOnly()], widths(min_layers=3, min_width=2)))
def test_every_zero_rank_saddle_of_the_energy_is_at_least_as_strict_as_the_bound_says(point):
    problem = problem_at(*point)
    bound = theory.zero_rank_curvature_bound(problem.weights, problem.y)
    assert bound < 0
    least = theory.zero_rank_spectrum(*problem.parts, "energy")[0]
    assert least <= bound * (1 - SAME)


@quick
@given(point=points([PenultimateOnly()], widths(min_layers=4, min_width=2)))
def test_the_bound_is_the_least_curvature_where_the_cross_blocks_vanish(point):
    problem = problem_at(*point)
    bound = theory.zero_rank_curvature_bound(problem.weights, problem.y)
    assert apart(theory.zero_rank_spectrum(*problem.parts, "energy")[0], bound) < SAME
    assert not theory.zero_rank_spectrum(*problem.parts, "loss").any()


@quick
@given(point=points([Origin()], widths(min_layers=2)))
def test_the_origin_is_strict_for_the_energy_at_any_depth_and_for_the_loss_with_one_hidden_layer(
    point,
):
    problem = problem_at(*point)
    sizes, x, y = problem.network.widths, problem.x, problem.y
    least = {o: theory.origin_spectrum(sizes, x, y, o)[0] for o in OBJECTIVES}
    assert least["energy"] <= -np.linalg.eigvalsh(y.T @ y / len(y))[-1] * (1 - SAME)
    if problem.network.n_hidden == 1:
        # The eigenvalues of [[0, C], [Cᵀ, 0]] are the singular values of C with both signs.
        top = np.linalg.norm(x.T @ y / len(x), 2)
        assert least["loss"] == pytest.approx(-top)
    else:
        assert least["loss"] == 0


@pytest.mark.parametrize("function", [theory.origin_hessian, theory.origin_spectrum])
def test_a_network_without_hidden_layers_is_refused(function):
    with pytest.raises(ValueError, match="at least one hidden layer"):
        function((3, 2), np.ones((4, 3)), np.ones((4, 2)), "energy")
