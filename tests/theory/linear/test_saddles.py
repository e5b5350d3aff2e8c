"""Theorems 2 and 3 where they meet, and what they imply about strictness."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pcbench.networks import Origin, PenultimateOnly, ZeroRank
from pcbench.theory.linear.saddles import (
    Slopes,
    Steps,
    origin_hessian,
    origin_spectrum,
    zero_rank_curvature_bound,
    zero_rank_ends,
    zero_rank_hessian,
    zero_rank_operator,
    zero_rank_spectrum,
)
from pcbench.theory.nonlinear.layered import Layered
from pcbench.theory.nonlinear.second_order import energy_hessian_product
from tests.helpers.closeness import SAME, apart
from tests.helpers.linear_problems import points, problem_at, random_problem, widths

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
            origin_hessian(sizes, *args).toarray(),
            zero_rank_hessian(problem.weights, *args).toarray(),
        )
        < SAME
    )
    assert apart(origin_spectrum(sizes, *args), zero_rank_spectrum(problem.weights, *args)) < SAME


@pytest.mark.parametrize("objective", OBJECTIVES)
@quick
@given(point=points([ZeroRank(), PenultimateOnly()], widths(min_layers=3, min_width=2)))
def test_spectra_are_the_eigenvalues_of_the_hessians_and_ascend(objective, point):
    problem = problem_at(*point)
    spectrum = zero_rank_spectrum(*problem.parts, objective)
    hessian = zero_rank_hessian(*problem.parts, objective).toarray()
    np.testing.assert_array_equal(spectrum, np.sort(spectrum))
    assert apart(spectrum, np.linalg.eigvalsh(hessian)) < SAME


@quick
@given(point=points([Origin()], widths(min_layers=2)))
def test_origin_spectra_are_the_eigenvalues_of_the_hessians_and_ascend(point):
    problem = problem_at(*point)
    for objective in OBJECTIVES:
        args = (problem.network.widths, problem.x, problem.y, objective)
        spectrum = origin_spectrum(*args)
        np.testing.assert_array_equal(spectrum, np.sort(spectrum))
        assert apart(spectrum, np.linalg.eigvalsh(origin_hessian(*args).toarray())) < SAME


@quick
@given(point=points([ZeroRank(), PenultimateOnly()], widths(min_layers=3, min_width=2)))
def test_every_zero_rank_saddle_of_the_energy_is_at_least_as_strict_as_the_bound_says(point):
    problem = problem_at(*point)
    bound = zero_rank_curvature_bound(problem.weights, problem.y)
    assert bound < 0
    least = zero_rank_spectrum(*problem.parts, "energy")[0]
    assert least <= bound * (1 - SAME)


@quick
@given(point=points([PenultimateOnly()], widths(min_layers=4, min_width=2)))
def test_the_bound_is_the_least_curvature_where_the_cross_blocks_vanish(point):
    problem = problem_at(*point)
    bound = zero_rank_curvature_bound(problem.weights, problem.y)
    assert apart(zero_rank_spectrum(*problem.parts, "energy")[0], bound) < SAME
    assert not zero_rank_spectrum(*problem.parts, "loss").any()


@quick
@given(point=points([Origin()], widths(min_layers=2)))
def test_the_origin_is_strict_for_the_energy_at_any_depth_and_for_the_loss_with_one_hidden_layer(
    point,
):
    problem = problem_at(*point)
    sizes, x, y = problem.network.widths, problem.x, problem.y
    least = {o: origin_spectrum(sizes, x, y, o)[0] for o in OBJECTIVES}
    assert least["energy"] <= -np.linalg.eigvalsh(y.T @ y / len(y))[-1] * (1 - SAME)
    if problem.network.n_hidden == 1:
        # The eigenvalues of [[0, C], [Cᵀ, 0]] are the singular values of C with both signs.
        top = np.linalg.norm(x.T @ y / len(x), 2)
        assert least["loss"] == pytest.approx(-top)
    else:
        assert least["loss"] == 0


@pytest.mark.parametrize("function", [origin_hessian, origin_spectrum])
def test_a_network_without_hidden_layers_is_refused(function):
    with pytest.raises(ValueError, match="at least one hidden layer"):
        function((3, 2), np.ones((4, 3)), np.ones((4, 2)), "energy")


# Beyond dense matrices, and during inference


@settings(max_examples=20, deadline=None)
@given(
    point=points(
        [Origin(), PenultimateOnly(), ZeroRank()],
        widths(min_layers=3, max_layers=4, min_width=2, max_width=4),
    ),
    objective=st.sampled_from(["loss", "energy"]),
)
def test_the_operator_multiplies_as_the_matrix(point, objective):
    problem = problem_at(*point)
    matrix = zero_rank_hessian(*problem.parts, objective).toarray()
    operator = zero_rank_operator(*problem.parts, objective)
    assert apart(operator @ np.eye(len(matrix)), matrix) < SAME


@pytest.mark.parametrize("objective", ["loss", "energy"])
@pytest.mark.parametrize("point", [Origin(), PenultimateOnly(), ZeroRank()])
@pytest.mark.parametrize("shape", [(5, 6, 6, 4, 2), (2, 2, 3, 9)])
def test_the_ends_are_those_of_the_spectrum(point, shape, objective):
    problem = problem_at(point, shape)
    spectrum = zero_rank_spectrum(*problem.parts, objective)
    ends = zero_rank_ends(*problem.parts, objective)
    assert apart(list(ends), [spectrum[0], spectrum[-1]]) < 1e-7


def test_the_hessian_during_inference_leads_from_the_loss_to_the_energy():
    problem = problem_at(ZeroRank(), (3, 4, 5, 3, 2))

    def after(steps):
        return zero_rank_hessian(*problem.parts, "energy", Steps(steps, 0.1)).toarray()

    assert apart(after(0), zero_rank_hessian(*problem.parts, "loss").toarray()) < SAME
    assert apart(after(5000), zero_rank_hessian(*problem.parts, "energy").toarray()) < SAME
    least = [np.linalg.eigvalsh(after(steps))[0] for steps in (0, 1, 5, 20)]
    assert (np.diff(least) < 0).all()


def test_at_the_origin_fifty_steps_are_short_by_what_is_left_of_a_unit():
    problem = problem_at(Origin(), (3, 4, 4, 2))
    whole = zero_rank_hessian(*problem.parts, "energy").toarray()
    part = zero_rank_hessian(*problem.parts, "energy", Steps(50, 0.1)).toarray()
    assert apart(part, (1 - 0.9**100) * whole) < SAME


@pytest.mark.parametrize("convention", ["post", "pre"])
@pytest.mark.parametrize(("activation", "slope"), [("tanh", 1.0), ("silu", 0.5)])
@pytest.mark.parametrize("widths", [(3, 4, 2), (3, 4, 3, 2)])
def test_the_origin_of_non_linear_networks(activation, slope, convention, widths):
    batch = random_problem(widths)
    network = Layered([0 * w for w in batch.weights], None, activation, convention)
    still = [np.zeros((len(batch.x), width)) for width in widths[1:-1]]
    slopes = Slopes.of(activation, convention)
    assert slopes == Slopes(slope, slope**2 if convention == "pre" else 1.0)
    rows = []
    for row in np.eye(sum(w.size for w in batch.weights)):
        parts = np.split(row, np.cumsum([w.size for w in batch.weights])[:-1])
        direction = [p.reshape(w.shape) for p, w in zip(parts, batch.weights, strict=True)]
        found = energy_hessian_product(network, [batch.x, *still, batch.y], direction)
        rows.append(np.concatenate([part.ravel() for part in found.product]))
    ours = origin_hessian(widths, batch.x, batch.y, "energy", slopes).toarray()
    assert apart(np.stack(rows), ours) < SAME
    values = origin_spectrum(widths, batch.x, batch.y, "energy", slopes)
    assert apart(values, np.linalg.eigvalsh(ours)) < SAME


def test_rectifiers_in_pre_have_no_hessian_at_the_origin():
    with pytest.raises(ValueError, match="pre convention"):
        Slopes.of("relu", "pre")
    assert Slopes.of("relu", "post").corner == 1.0
