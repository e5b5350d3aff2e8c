"""Devices, dtypes, precision and manners of the JAX backend, and what is said without JAX."""

import json
import re
import subprocess
import sys
from textwrap import dedent

import numpy as np
import pytest

from pcbench.backends._on_jax import NETWORKS
from pcbench.backends.jax import JaxBackend, model
from pcbench.contract import (
    BackendUnavailableError,
    Capability,
    ExactInference,
    GradientInference,
    OdeInference,
)
from pcbench.networks import NetworkSpec
from tests.backends.jax.answers import ARCHITECTURES, DTYPES, Staged
from tests.backends.torch.layered import draw
from tests.helpers.linear_problems import random_problem

jax = pytest.importorskip("jax")
LINEAR = ("identity", "post", False, (None, ()), (4, 5, 3, 2))


def refusal(device):
    with pytest.raises(BackendUnavailableError) as caught:
        JaxBackend(device)
    return str(caught.value)


@pytest.mark.parametrize("name", ["", "mps", "cpu:x", "cuda:-2", "the big one"])
def test_what_is_no_device_is_refused_with_those_that_are(name):
    assert refusal(name) == (
        f"no device {name!r}: the jax backend runs on cpu, gpu, cuda and, of several, cuda:1"
    )


@pytest.mark.skipif(jax.default_backend() != "cpu", reason="this machine has a GPU")
@pytest.mark.parametrize("name", ["gpu", "cuda", "cuda:1"])
def test_a_gpu_that_is_not_there_is_refused_with_the_remedy(name):
    message = f"no device {name!r}: JAX finds no GPU here; use --device cpu, or install"
    assert refusal(name).startswith(message)


def test_a_device_beyond_the_last_is_refused_with_how_many_there_are():
    assert refusal("cpu:99") == "no device 'cpu:99': JAX finds 1 of that kind; count from 0"


def test_all_is_offered_but_the_flow_of_an_ode():
    assert JaxBackend.name == "jax"
    assert set(Capability) - JaxBackend.capabilities == {Capability.ODE_INFERENCE}
    at = Staged(draw(*LINEAR, 3, 0))
    with pytest.raises(BackendUnavailableError, match="engine: gradient"):
        at.infer(OdeInference())


def test_exact_inference_of_a_network_that_is_not_linear_is_refused():
    at = Staged(draw(*ARCHITECTURES["tanh-post"], 3, 0))
    with pytest.raises(BackendUnavailableError, match="gauss_newton"):
        at.infer(ExactInference())


def test_programs_of_many_networks_do_not_pile_up():
    # Their memory is mapped, and a process that maps too often is ended.
    backend = JaxBackend()
    for width in range(1, 3 * NETWORKS):
        network = NetworkSpec((2, width, 2))
        built = backend.build(network, [np.ones(shape) for shape in network.shapes])
        predicted = built.predict(backend.to_device(np.ones((1, 2))))
        np.testing.assert_array_equal(predicted, np.full((1, 2), 2.0 * width))
        assert model._predict._cache_size() <= NETWORKS


def test_going_back_to_a_network_compiles_nothing():
    backend = JaxBackend()
    for width in (3, 4) * NETWORKS:
        network = NetworkSpec((2, width, 2))
        built = backend.build(network, [np.ones(shape) for shape in network.shapes])
        built.predict(backend.to_device(np.ones((1, 2))))
        compiled = model._predict._cache_size()
    built.predict(backend.to_device(np.ones((1, 2))))
    assert compiled == model._predict._cache_size() >= 2


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_description_is_json_and_names_what_numbers_depend_on(dtype):
    described = json.loads(json.dumps(JaxBackend("cpu", dtype).describe(), allow_nan=False))
    assert described["jax"] == jax.__version__
    assert described["x64"] is (dtype == "float64")
    assert described["matmul_precision"] == "highest"


@pytest.mark.parametrize("dtype", DTYPES)
def test_answers_have_the_dtype_and_who_else_uses_jax_keeps_theirs(dtype):
    at = Staged(draw(*LINEAR, 3, 0).unmasked(), dtype)
    reached = at.infer(ExactInference())
    answers = [
        *reached.activities,
        reached.energies,
        reached.residual,
        reached.sample_residuals,
        at.model.loss(at.x, at.y),
        *at.model.loss_gradients(at.x, at.y),
    ]
    assert {answer.dtype for answer in answers} == {np.dtype(dtype)}
    assert jax.numpy.zeros(1).dtype == np.float32
    assert not jax.config.jax_enable_x64
    assert jax.config.jax_default_matmul_precision is None


@pytest.mark.parametrize(
    ("architecture", "products"), [(LINEAR, 3), (ARCHITECTURES["leaky-pre-pooled"], 3)]
)
def test_products_are_asked_for_in_full_precision(architecture, products):
    """On a CPU it makes no difference; on a GPU it is the difference between 24 bits and 11."""
    at = Staged(draw(*architecture, 3, 0), "float32")
    network, parameters = at.model.network, at.model.parameters
    text = at.model.runtime.run(model._predict.lower, network, parameters, at.x).as_text()
    assert text.count("dot_general") + text.count("stablehlo.convolution") == products
    highest = re.findall(r"precision(?:_config)? = \[([^]]*)\]", text)
    assert len(highest) == products
    assert all(asked.count("HIGHEST") == 2 for asked in highest)


def test_another_precision_is_taken_from_jaxs_own_setting_and_reported():
    with jax.default_matmul_precision("tensorfloat32"):
        asked = JaxBackend("cpu", "float32")
    assert asked.describe()["matmul_precision"] == "tensorfloat32"
    assert JaxBackend("cpu", "float32").describe()["matmul_precision"] == "highest"


def test_memory_that_is_not_there_is_told_from_other_failures():
    backend = JaxBackend("cpu", "float32")
    petabyte = jax.jit(lambda x: jax.numpy.broadcast_to(x, (500_000, 500_000, 1_000)))
    with pytest.raises(RuntimeError) as caught:
        petabyte(backend.to_device(np.ones(1_000)))
    assert backend.ran_out_of_memory(caught.value)
    assert not backend.ran_out_of_memory(RuntimeError("INVALID_ARGUMENT: shapes"))
    assert not backend.ran_out_of_memory(ValueError("RESOURCE_EXHAUSTED"))


@pytest.mark.skipif(jax.default_backend() != "cpu", reason="this machine has a GPU")
def test_a_machine_without_a_gpu_has_a_cpu_to_offer():
    assert JaxBackend.devices() == ["cpu"]


def test_a_function_is_compiled_once_for_a_shape_whatever_the_weights_and_numbers():
    for step in (0.1, 0.05):
        at = Staged(draw(*LINEAR, 3, seed=0))
        before = model._relax._cache_size(), model._loss._cache_size()
        for seed in range(3):
            at = Staged(draw(*LINEAR, 3, seed))
            at.model.loss(at.x, at.y, at.precision)
            at.infer(GradientInference(step=step, max_steps=3 + seed))
        after = model._relax._cache_size(), model._loss._cache_size()
        assert [b - a for a, b in zip(before, after, strict=True)] in ([1, 1], [0, 0])
    assert after == before


def test_what_is_given_is_copied_and_not_changed():
    problem = draw(*LINEAR, 3, 0).unmasked()
    kept = [array.copy() for array in (*problem.parameters, *problem.activities)]
    at = Staged(problem)
    before = at.host(at.model.predict(at.x))
    at.infer(ExactInference())
    for array, was in zip((*problem.parameters, *problem.activities), kept, strict=True):
        np.testing.assert_array_equal(array, was)
        array[:] = 0
    np.testing.assert_array_equal(at.host(at.model.predict(at.x)), before)
    host = at.backend.to_host(at.x)
    host[:] = 7
    np.testing.assert_array_equal(at.backend.to_host(at.x), kept[len(problem.parameters)])


def test_views_of_any_strides_are_staged_as_what_they_show():
    array = np.arange(24.0).reshape(4, 6)[::-1, ::2].T
    backend = JaxBackend()
    np.testing.assert_array_equal(backend.to_host(backend.to_device(array)), array)


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_same_question_has_the_same_answer_to_the_last_bit(dtype):
    problem = random_problem((20, 30, 10), samples=50)
    runs = []
    for _ in range(2):
        backend = JaxBackend("cpu", dtype)
        built = backend.build(problem.network, problem.weights)
        x, y = backend.to_device(problem.x), backend.to_device(problem.y)
        reached = built.infer(x, y, ExactInference())
        runs.append([*reached.activities, *built.energy_gradients(reached.activities)])
    for a, b in zip(*runs, strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_network_without_hidden_layers_has_nothing_to_infer():
    backend = JaxBackend()
    built = backend.build(NetworkSpec((3, 2)), [np.ones((2, 3))])
    x, y = backend.to_device(np.ones((4, 3))), backend.to_device(np.zeros((4, 2)))
    for settings in (ExactInference(), GradientInference()):
        reached = built.infer(x, y, settings)
        assert (reached.steps, reached.converged) == (0, True)
        np.testing.assert_array_equal(reached.activities[-1], y)
        energy, loss = backend.to_host(reached.energies), backend.to_host(built.loss(x, y))
        assert energy.tolist() == [loss] == [9.0]


def test_a_cpu_has_no_accelerator_memory_and_nothing_to_wait_for():
    backend = JaxBackend()
    assert backend.peak_memory() is None
    assert backend.synchronize() is None


def test_without_jax_the_plugin_says_in_a_sentence_what_to_install_and_breaks_nothing_else():
    program = """
        import sys
        sys.modules["jax"] = None
        from pcbench.registry import BACKENDS, BrokenPluginError
        assert "jax" in BACKENDS.names()
        try:
            BACKENDS.load("jax")
        except BrokenPluginError as error:
            print(error)
        assert "torch" in BACKENDS.names()
    """
    run = [sys.executable, "-c", dedent(program)]
    said = subprocess.run(run, capture_output=True, text=True, check=True).stdout
    assert "the jax backend needs JAX" in said
    assert said.strip().endswith("pip install 'pcbench[jax]'")
    assert len(said.splitlines()) == 1


def test_listing_backends_imports_no_jax():
    program = """
        import sys
        from pcbench.registry import BACKENDS
        import pcbench.cli, pcbench.backends
        BACKENDS.names()
        assert not [name for name in sys.modules if name.partition(".")[0] == "jax"]
    """
    subprocess.run([sys.executable, "-c", dedent(program)], check=True)
