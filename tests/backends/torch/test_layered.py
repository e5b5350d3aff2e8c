"""The PyTorch backend's layers against the judge's: values, energies, gradients, derivatives."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pcbench.backends.torch.layers import WORTH_SHARING, Layer, threads_that_pay
from pcbench.backends.torch.maps import ConvolutionMap, Matrix
from pcbench.contract import BackendUnavailableError, ExactInference
from pcbench.networks import Convolution
from pcbench.theory.nonlinear import layered
from tests.backends.torch import answers
from tests.backends.torch.layered import (
    ARCHITECTURES,
    CONVOLVED,
    DENSE,
    draw,
    networks,
    replicated,
    staged,
)
from tests.helpers.closeness import SMALL, apart

every_architecture = pytest.mark.parametrize("architecture", ARCHITECTURES, ids=str)
quick = settings(max_examples=15, deadline=None)
# Twelve bits: small networks lose few, wrong formulas all, a constant of the wrong dtype half.
CLOSE = {dtype: 2**12 * float(np.finfo(dtype).eps) for dtype in answers.DTYPES}
every_dtype = pytest.mark.parametrize("dtype", answers.DTYPES)


def flat(gradients):
    """What the judge returns, in the order of the parameters."""
    weights, biases = gradients
    return [*weights, *(biases or [])]


@every_dtype
@quick
@given(arguments=networks())
def test_predictions_losses_and_their_gradients_are_the_judges(dtype, arguments):
    drawn = draw(*arguments, dtype=dtype)
    for problem in (drawn.unmasked(), drawn, drawn.masked()):
        backend, model, (x, *_, y), precision = staged(problem, dtype)
        ours = [
            backend.to_host(answer)
            for answer in (
                model.predict(x),
                model.loss(x, y, precision),
                *model.loss_gradients(x, y, precision),
            )
        ]
        batch = problem.judge, problem.x, problem.y, problem.precision
        assert apart(ours[0], layered.feedforward(problem.judge, problem.x)[-1]) < CLOSE[dtype]
        assert apart(ours[1], layered.layered_loss(*batch)) < CLOSE[dtype]
        assert apart(ours[2:], flat(layered.layered_loss_gradients(*batch))) < CLOSE[dtype]


@every_dtype
@quick
@given(arguments=networks())
def test_energies_and_their_gradients_are_the_judges_wherever_the_activities_are(dtype, arguments):
    drawn = draw(*arguments, dtype=dtype)
    for problem in (drawn.unmasked(), drawn, drawn.masked()):
        backend, model, z, precision = staged(problem, dtype)
        at = problem.judge, problem.activities, problem.precision
        energies = backend.to_host(model.energies(z, precision))
        gradients = [backend.to_host(g) for g in model.energy_gradients(z, precision)]
        assert apart(energies, layered.layered_energies(*at)) < CLOSE[dtype]
        assert apart(gradients, flat(layered.energy_gradients(*at))) < CLOSE[dtype]


@pytest.mark.parametrize("activation", layered.ACTIVATIONS)
@pytest.mark.parametrize("convention", layered.CONVENTIONS)
def test_slopes_at_zero_are_the_judges(activation, convention):
    """Where a rectifier has its kink."""
    problem = draw(activation, convention, False, DENSE, (3, 4, 4, 2), 1, 0)
    nothing, e = np.zeros((1, 4)), np.arange(1.0, 5).reshape(1, 4)
    _, model, *_ = staged(problem)
    pulled = model.layers[1].at(torch.from_numpy(nothing)).pull(torch.from_numpy(e))
    assert apart(pulled, layered.pull_back(problem.judge, 2, nothing, e)) < CLOSE["float64"]


@pytest.mark.parametrize("activation", ["relu", "identity"])
def test_of_equal_maxima_the_first_is_pulled_back_to(activation):
    """A blank image is all ties."""
    problem = draw(activation, "post", True, CONVOLVED[0], (0, 3, 2), 2, 0)
    problem.judge.biases[0][:] = 1.0
    blank, e = np.zeros_like(problem.x), np.random.default_rng(0).standard_normal((2, 12))
    _, model, *_ = staged(problem)
    pulled = model.layers[0].at(torch.from_numpy(blank)).pull(torch.from_numpy(e))
    assert apart(pulled, layered.pull_back(problem.judge, 1, blank, e)) < CLOSE["float64"]
    assert pulled.abs().max() > SMALL


@quick
@given(arguments=networks(), many=st.integers(1, 6))
def test_vectors_pulled_back_together_go_where_each_goes_alone(arguments, many):
    problem = draw(*arguments)
    _, model, z, _ = staged(problem)
    rng = np.random.default_rng(0)
    for l, (layer, below) in enumerate(zip(model.layers, z, strict=False), start=1):
        tangent = layer.at(below)
        e = rng.standard_normal((len(below), many, z[l].shape[-1]))
        together = tangent.pull(torch.from_numpy(e))
        assert together.shape == (len(below), many, below.shape[-1])
        for k in range(many):
            alone = layered.pull_back(problem.judge, l, problem.activities[l - 1], e[:, k])
            assert apart(together[:, k], alone) < CLOSE["float64"]


@quick
@given(arguments=networks())
def test_what_is_pushed_forward_is_the_derivative_that_is_pulled_back(arguments):
    """``⟨e, J v⟩ = ⟨Jᵀ e, v⟩`` for any ``v`` and ``e``; ``Jᵀ`` is held against the judge's."""
    _, model, z, _ = staged(draw(*arguments))
    generator = torch.manual_seed(0)
    for layer, below in zip(model.layers, z, strict=False):
        tangent = layer.at(below)
        v = torch.randn(below.shape, dtype=below.dtype, generator=generator)
        e = torch.randn(tangent.value.shape, dtype=below.dtype, generator=generator)
        pushed, pulled = tangent.push(v), tangent.pull(e)
        assert pushed.shape == tangent.value.shape
        bound = SMALL + CLOSE["float64"] * float((e.abs() * pushed.abs()).sum())
        assert abs(float((e * pushed).sum() - (pulled * v).sum())) < bound


# --- Replicas


@every_architecture
@pytest.mark.parametrize("replicas", [1, 3])
def test_replicas_answer_as_they_do_alone(architecture, replicas):
    singles, model = replicated(architecture, gains=(1,) * replicas)
    (_, _, (x, *_, y), precision), *_ = parts = [staged(single) for single in singles]
    hidden = [torch.stack(layer) for layer in zip(*(z[1:-1] for _, _, z, _ in parts), strict=True)]

    def ask(model, z):
        return [
            model.predict(x),
            model.loss(x, y, precision),
            *model.loss_gradients(x, y, precision),
            model.energies(z, precision),
            *model.energy_gradients(z, precision),
        ]

    separate = [ask(own, z) for _, own, z, _ in parts]
    for ours, alone in zip(ask(model, [x, *hidden, y]), zip(*separate, strict=True), strict=True):
        torch.testing.assert_close(ours, torch.stack(alone), rtol=1e-12, atol=1e-12)


@every_architecture
def test_many_vectors_are_pulled_back_in_every_replica(architecture):
    singles, model = replicated(architecture)
    parts = [staged(single) for single in singles]
    generator = torch.manual_seed(0)
    for l, layer in enumerate(model.layers[1:], start=1):
        below = torch.stack([z[l] for _, _, z, _ in parts])
        width = parts[0][2][l + 1].shape[-1]
        e = torch.randn(*below.shape[:-1], 5, width, dtype=below.dtype, generator=generator)
        together = layer.at(below).pull(e)
        for r, (_, own, z, _) in enumerate(parts):
            alone = own.layers[l].at(z[l])
            torch.testing.assert_close(together[r], alone.pull(e[r]), rtol=1e-12, atol=1e-12)
            one = layer.at(below).pull(e[:, :, 0])
            torch.testing.assert_close(one[r], alone.pull(e[r, :, 0]), rtol=1e-12, atol=1e-12)
            pushed = layer.at(below).push(below)
            torch.testing.assert_close(pushed[r], alone.push(z[l]), rtol=1e-12, atol=1e-12)


# --- Manners


@every_architecture
def test_nothing_that_is_given_is_changed(architecture):
    problem = draw(*architecture, 3, 0).masked()
    _, model, z, precision = staged(problem)
    model.loss(z[0], z[-1], precision)
    model.loss_gradients(z[0], z[-1], precision)
    model.energies(z, precision)
    model.energy_gradients(z, precision)
    for now, then in zip([*z, precision], [*problem.activities, problem.precision], strict=True):
        np.testing.assert_array_equal(now, then)
    _, fresh, *_ = staged(problem)
    for ours, untouched in zip(model.layers, fresh.layers, strict=True):
        assert torch.equal(ours.affine.weight, untouched.affine.weight)
        if ours.affine.bias is not None:
            assert torch.equal(ours.affine.bias, untouched.affine.bias)


@every_dtype
@every_architecture
def test_every_answer_has_the_shape_of_the_contract_and_the_dtype_of_the_backend(
    architecture, dtype
):
    problem = draw(*architecture, 3, 0)
    network = problem.network
    _, model, (x, *hidden, y), precision = staged(problem, dtype)
    shapes = [*network.shapes, *network.bias_shapes]
    for given_precision in (None, precision):
        losses = model.loss_gradients(x, y, given_precision)
        energies = model.energy_gradients([x, *hidden, y], given_precision)
        for gradients in (losses, energies):
            assert [tuple(g.shape) for g in gradients] == shapes
        loss = model.loss(x, y, given_precision)
        by_layer = model.energies([x, *hidden, y], given_precision)
        assert (loss.shape, by_layer.shape) == ((), (network.n_layers,))
        found = {tensor.dtype for tensor in (loss, by_layer, *losses, *energies)}
        assert found == {getattr(torch, dtype)}
    assert model.predict(x).shape == y.shape


# --- Threads


@pytest.fixture
def two_threads():
    """Two threads, whatever the environment says."""
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def dense(*shape):
    return Layer(Matrix(torch.zeros(shape), None))


def convolution(*replicas, image, kernel=3, channels=2):
    spec = Convolution(image, channels, kernel, 1)
    weight = torch.zeros(*replicas, channels, image[0], kernel, kernel)
    return Layer(ConvolutionMap(weight, None, spec))


def threads_for(layers, samples):
    with threads_that_pay(layers, samples, torch.device("cpu")):
        return torch.get_num_threads()


@pytest.mark.usefixtures("two_threads")
def test_small_products_have_one_thread_and_large_ones_all_of_them():
    cpu = torch.device("cpu")
    small = [dense(3, 3), dense(7, 3)]
    large = [dense(2, 2), dense(int(WORTH_SHARING) // 20, 1)]
    with threads_that_pay(small, 10, cpu):
        assert torch.get_num_threads() == 1
        with threads_that_pay(large, 10, cpu):
            assert torch.get_num_threads() == 1
        assert torch.get_num_threads() == 1
    assert torch.get_num_threads() == 2
    with threads_that_pay(large, 10, cpu):
        assert torch.get_num_threads() == 2
    assert torch.get_num_threads() == 2


# 2 · 64 · d² is 5e6 at d = 198.
@pytest.mark.usefixtures("two_threads")
@pytest.mark.parametrize(("width", "threads"), [(10, 1), (100, 1), (197, 1), (198, 2), (300, 2)])
def test_one_thread_is_enough_for_a_dense_layer_up_to_a_width(width, threads):
    assert threads_for([dense(width, width)], 64) == threads


# 64 samples of 28 × 28 are 7.2 million operations, of 72 weights.
@pytest.mark.usefixtures("two_threads")
@pytest.mark.parametrize(
    ("height", "width", "kernel", "samples", "threads"),
    [(28, 28, 3, 64, 2), (28, 28, 3, 32, 1), (14, 28, 3, 64, 1), (28, 28, 1, 64, 1)],
)
def test_a_kernel_counts_at_every_place_of_the_image(height, width, kernel, samples, threads):
    layer = convolution(image=(2, height, width), kernel=kernel, channels=4)
    assert threads_for([dense(3, 3), layer], samples) == threads


@pytest.mark.usefixtures("two_threads")
@pytest.mark.parametrize(("replicas", "threads"), [(8, 1), (16, 2)])
def test_replicas_count_together(replicas, threads):
    assert threads_for([dense(replicas, 50, 50)], 64) == threads
    assert threads_for([convolution(replicas, image=(2, 14, 14))], 32) == threads


@pytest.mark.usefixtures("two_threads")
def test_threads_come_back_also_from_a_failure():
    _, model, (x, *_, y), precision = staged(draw(*ARCHITECTURES[0], 3, 0))
    model.loss_gradients(x, y, precision)
    assert torch.get_num_threads() == 2
    with pytest.raises(BackendUnavailableError):
        model.infer(x, y, ExactInference())
    assert torch.get_num_threads() == 2
