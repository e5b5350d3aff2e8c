"""The adapters to JPC and PCX: what they refuse, and, where the libraries are, what they make."""

import subprocess
import sys
from importlib.util import find_spec

import numpy as np
import pytest

from pcbench.backends.jpc import JpcBackend
from pcbench.backends.pcx import PcxBackend
from pcbench.backends.torch import TorchBackend
from pcbench.contract import (
    BackendUnavailableError,
    Capability,
    ErrorInference,
    ExactInference,
    GaussNewtonInference,
    GradientInference,
    OdeInference,
)
from pcbench.networks import Convolution, NetworkSpec
from tests.helpers.closeness import DIFFERENT, apart

ADAPTERS = {"jpc": JpcBackend, "pcx": PcxBackend}
REMEDIES = {"jpc": "https://github.com/thebuckleylab/jpc", "pcx": "pip install 'pcbench[pcx]'"}

# What the libraries, and JAX of their age, are warned of when they are compiled or imported.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::SyntaxWarning")

with_library = pytest.mark.parametrize(
    "adapter",
    [
        pytest.param(
            ADAPTERS[name],
            marks=pytest.mark.skipif(find_spec(name) is None, reason=f"{name} is not installed"),
            id=name,
        )
        for name in ADAPTERS
    ],
)
with_jpc = pytest.mark.skipif(find_spec("jpc") is None, reason="jpc is not installed")

# So far apart are right answers that were rounded differently on their way through a few layers of
# a few units; what a wrong factor, order or convention makes is `DIFFERENT` or more.
SAME = {"float32": 2e-5, "float64": 1e-12}

NETWORKS = {
    "linear": NetworkSpec((4, 6, 5, 7, 3)),
    "one hidden layer": NetworkSpec((4, 6, 3)),
    "post": NetworkSpec((4, 6, 5, 7, 3), "tanh", "post", bias=True),
    "pre": NetworkSpec((4, 6, 5, 7, 3), "silu", "pre", bias=True),
    "rectifiers": NetworkSpec((4, 6, 5, 3), "relu", "pre"),
    "leaky rectifiers": NetworkSpec((4, 6, 5, 3), "leaky_relu", "post"),
}
GRADIENT = GradientInference(step=0.15, residual=1e-12, max_steps=20, record=True)


def draw(network, seed=0, samples=8):
    """Parameters and a batch."""
    rng = np.random.default_rng(seed)
    shapes = (*network.shapes, *network.bias_shapes)
    parameters = [rng.standard_normal(shape) / np.sqrt(shape[-1]) for shape in shapes]
    x, y = (rng.standard_normal((samples, width)) for width in network.widths[:: network.n_layers])
    return parameters, x, y


def posed(adapter, network, dtype="float64"):
    """A model with a batch, staged."""
    parameters, x, y = draw(network)
    backend = adapter("cpu", dtype)
    return (
        backend,
        backend.build(network, parameters),
        backend.to_device(x),
        backend.to_device(y),
    )


def total(energies):
    return float(np.sum(np.asarray(energies)))


def answers(adapter, network, dtype="float64"):
    """What a model says, on the host, by name."""
    backend, model, x, y = posed(adapter, network, dtype)
    reached = model.infer(x, y, GRADIENT)
    # On the host: outside of a call, JAX may know no float64.
    away = [backend.to_host(z) + 0.1 * l for l, z in enumerate(reached.activities)]
    moved = [backend.to_device(z) for z in away]
    said = {
        "prediction": model.predict(x),
        "loss": model.loss(x, y),
        "loss gradients": model.loss_gradients(x, y),
        "activities": reached.activities,
        "energies reached": reached.energies,
        "path": reached.path,
        "residual": reached.residual,
        "residuals of samples": reached.sample_residuals,
        "energies": model.energies(moved),
        "energy gradients": model.energy_gradients(moved),
    }
    assert (reached.steps, reached.converged) == (20, False)
    return {
        name: [backend.to_host(array) for array in answer]
        if isinstance(answer, list)
        else backend.to_host(answer)
        for name, answer in said.items()
    }


# Without the libraries.


@pytest.mark.parametrize("name", ADAPTERS)
def test_a_library_that_is_missing_is_named_with_the_remedy(name, monkeypatch):
    monkeypatch.setitem(sys.modules, name, None)  # as if it were not installed
    with pytest.raises(BackendUnavailableError, match="cannot be imported") as caught:
        ADAPTERS[name]()
    assert REMEDIES[name] in str(caught.value)


@pytest.mark.parametrize("name", ADAPTERS)
def test_an_adapter_imports_nothing_of_its_library_before_it_is_made(name):
    probe = (
        f"import sys, pcbench.backends.{name} as adapter; "
        f"print(sorted({{'jax', 'equinox', 'jpc', 'pcx', 'torch'}} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("name", ADAPTERS)
def test_what_a_library_cannot_have_is_refused_with_the_reason(name):
    backend = object.__new__(ADAPTERS[name])
    convolution = Convolution((1, 4, 4), 2)
    images = NetworkSpec((16, 32, 3), convolutions=(convolution,))
    with pytest.raises(BackendUnavailableError, match="has no convolutions"):
        backend.check(images, [np.zeros(shape) for shape in images.shapes])
    network = NetworkSpec((4, 6, 3))
    with pytest.raises(BackendUnavailableError, match="has no replicas"):
        backend.check(network, [np.zeros((2, *shape)) for shape in network.shapes])
    backend.check(network, [np.zeros(shape) for shape in network.shapes])


@pytest.mark.parametrize("name", ADAPTERS)
def test_the_cpu_is_there_with_or_without_jax(name, monkeypatch):
    assert ADAPTERS[name].devices()[0] == "cpu"
    monkeypatch.setitem(sys.modules, "jax", None)
    assert ADAPTERS[name].devices() == ["cpu"]


@pytest.mark.parametrize("name", ADAPTERS)
def test_a_device_that_is_full_is_told_from_other_trouble(name):
    backend = object.__new__(ADAPTERS[name])
    assert backend.ran_out_of_memory(MemoryError())
    assert backend.ran_out_of_memory(RuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating"))
    assert not backend.ran_out_of_memory(RuntimeError("INVALID_ARGUMENT"))


def test_jpc_refuses_a_network_without_hidden_layers():
    with pytest.raises(BackendUnavailableError, match="with a hidden layer only"):
        object.__new__(JpcBackend).check(NetworkSpec((4, 3)), [np.zeros((3, 4))])


# With them.


@with_library
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", NETWORKS)
def test_answers_are_the_contracts_in_every_convention(adapter, name, dtype):
    ours, theirs = (answers(backend, NETWORKS[name], dtype) for backend in (adapter, TorchBackend))
    for what, answer in ours.items():
        assert apart(answer, theirs[what]) < SAME[dtype], what


@with_library
def test_the_conventions_are_not_the_same(adapter):
    post, pre = (
        answers(adapter, NetworkSpec((4, 6, 5, 3), "tanh", convention))
        for convention in ("post", "pre")
    )
    assert apart(post["prediction"], pre["prediction"]) < SAME["float64"]
    assert apart(post["activities"], pre["activities"]) > DIFFERENT


@with_library
def test_inference_stops_at_its_residual_and_is_at_equilibrium_there(adapter):
    backend, model, x, y = posed(adapter, NETWORKS["post"])
    settings = GradientInference(step=0.15, residual=1e-6, record=True)
    reached = model.infer(x, y, settings)
    path = backend.to_host(reached.path)
    assert reached.converged
    assert float(reached.residual) <= 1e-6
    assert path.shape == (reached.steps + 1, 4)
    assert np.all(np.diff(path.sum(1)) <= 0)  # the step is a stable one
    before = model.infer(x, y, settings.model_copy(update={"max_steps": reached.steps - 1}))
    assert not before.converged
    assert float(before.residual) > 1e-6


@with_library
def test_inference_that_diverges_says_so(adapter):
    _, model, x, y = posed(adapter, NETWORKS["linear"])
    reached = model.infer(x, y, GradientInference(step=100.0, max_steps=1_000))
    assert not reached.converged
    assert not np.isfinite(float(reached.residual))
    assert reached.steps < 1_000


@with_library
def test_a_call_leaves_nothing_behind(adapter):
    import jax

    before = jax.config.jax_enable_x64
    backend, model, x, y = posed(adapter, NETWORKS["linear"])
    copies = np.array(x), np.array(y)
    fewer = [backend.to_device(batch[:3]) for batch in copies]
    first = model.infer(x, y, GRADIENT)
    other = model.infer(*fewer, GRADIENT)  # of another size: nothing is kept
    again = model.infer(x, y, GRADIENT)
    assert other.activities[1].shape == (3, 6)
    assert all(map(np.array_equal, first.activities, again.activities))  # bit for bit
    assert all(map(np.array_equal, (x, y), copies))
    assert jax.config.jax_enable_x64 == before


@with_library
@pytest.mark.parametrize(("dtype", "other"), [("float32", "float64"), ("float64", "float32")])
def test_the_dtype_is_respected_whatever_else_the_process_computes_in(adapter, dtype, other):
    network = NETWORKS["linear"]
    posed(adapter, network, other)[1].predict(posed(adapter, network, other)[2])
    _, model, x, y = posed(adapter, network, dtype)
    engines = {
        Capability.EXACT_INFERENCE: ExactInference(),
        Capability.GRADIENT_INFERENCE: GRADIENT,
        Capability.ERROR_INFERENCE: ErrorInference(max_steps=3),
        Capability.ODE_INFERENCE: OdeInference(residual=1e-2),
    }
    for capability in adapter.capabilities & engines.keys():
        reached = model.infer(x, y, engines[capability])
        made = [*reached.activities, reached.energies, reached.residual]
        assert {str(array.dtype) for array in made} == {dtype}
    made = [model.loss(x, y), *model.loss_gradients(x, y), *model.energy_gradients([x, *made[1:5]])]
    assert {str(array.dtype) for array in made} == {dtype}


@with_library
def test_what_is_not_offered_is_refused_and_never_passed_over(adapter):
    _, model, x, y = posed(adapter, NETWORKS["post"])
    refused = {
        "no engine gauss_newton": lambda: model.infer(x, y, GaussNewtonInference()),
        "keeps a step": lambda: model.infer(x, y, GradientInference(preset="paper")),
        "no precision": lambda: model.loss(x, y, y),
        "no precision ": lambda: model.infer(x, y, GRADIENT, y),
        "no precision  ": lambda: model.energies([x, *[x] * 3, y], y),
        "in closed form|no engine exact": lambda: model.infer(x, y, ExactInference()),
    }
    for reason, ask in refused.items():
        with pytest.raises(BackendUnavailableError, match=reason.strip()):
            ask()


@with_library
@pytest.mark.parametrize("device", ["tpu", "cuda:99", "", "cpu:99", "cpu:-1", "cpu:x"])
def test_a_device_that_is_not_there_is_refused(adapter, device):
    with pytest.raises(BackendUnavailableError, match=f"no device '{device}'"):
        adapter(device)


@with_library
def test_the_report_has_the_versions(adapter):
    described = adapter("cpu", "float32").describe()
    assert {adapter.name, "jax", "device"} <= described.keys()


@with_library
def test_without_hidden_layers_there_is_nothing_to_infer_or_no_model(adapter):
    network = NetworkSpec((4, 3))
    if adapter is JpcBackend:
        with pytest.raises(BackendUnavailableError):
            posed(adapter, network)
        return
    _, model, x, y = posed(adapter, network)
    reached = model.infer(x, y, GRADIENT)
    assert (reached.steps, reached.converged, float(reached.residual)) == (0, True, 0.0)
    assert apart(total(reached.energies), total(model.loss(x, y))) < SAME["float64"]


# JPC's other engines.


@with_jpc
@pytest.mark.parametrize("name", ["linear", "one hidden layer"])
def test_jpcs_closed_forms_are_the_equilibrium_and_its_hessians(name):
    theirs, ours = posed(TorchBackend, NETWORKS[name]), posed(JpcBackend, NETWORKS[name])
    vectors = np.random.default_rng(1).standard_normal((3, NETWORKS[name].n_parameters))
    found = []
    for backend, model, x, y in (ours, theirs):
        reached = model.infer(x, y, ExactInference())
        assert reached.converged
        assert reached.steps == 0
        hessians = [model.loss_hessian(x, y), model.energy_hessian(reached.activities)]
        products = [hessian.product(backend.to_device(vectors)) for hessian in hessians]
        found.append([backend.to_host(array) for array in [*reached.activities, *products]])
    assert apart(*found) < 1e-10  # of a dense inverse


@with_jpc
@pytest.mark.parametrize("method", ["dopri5", "bosh3", "adaptive_heun"])
@pytest.mark.parametrize("name", ["linear", "pre"])
def test_jpcs_flow_reaches_the_residual_and_keeps_every_step(name, method):
    backend, model, x, y = posed(JpcBackend, NETWORKS[name])
    flow = model.infer(x, y, OdeInference(method=method, residual=1e-4, record=True))
    steps = model.infer(x, y, GradientInference(step=0.1, residual=1e-8, max_steps=100_000))
    assert flow.converged
    assert backend.to_host(flow.path).shape == (flow.steps + 1, 4)
    assert apart(flow.path[-1], flow.energies) < SAME["float64"]
    # An energy misses the least by the square of the residual.
    assert apart(total(flow.energies), total(steps.energies)) < 1e-6


@with_jpc
def test_jpcs_flow_ends_with_its_budget():
    _, model, x, y = posed(JpcBackend, NETWORKS["linear"])
    short = model.infer(x, y, OdeInference(residual=1e-6, max_time=0.1))
    few = model.infer(x, y, OdeInference(residual=1e-6, max_steps=5, record=True))
    assert not short.converged
    assert not few.converged
    assert few.steps == 5
    assert few.path.shape == (6, 4)


@with_jpc
def test_jpcs_errors_take_up_the_outputs_residual_and_the_adapter_does_not_hide_it():
    _, model, x, y = posed(JpcBackend, NETWORKS["linear"])
    reached = model.infer(x, y, ErrorInference(step=0.1, residual=1e-4, max_steps=2_000))
    loss, least = total(model.loss(x, y)), total(model.infer(x, y, ExactInference()).energies)
    assert (reached.steps, reached.converged) == (2_000, False)
    assert float(reached.residual) > 0.99  # back at the feedforward activities
    assert abs(total(reached.energies) - loss) < DIFFERENT * (loss - least)
