"""Which devices and dtypes the PyTorch backend takes, and what it says of itself."""

import json

import numpy as np
import pytest
import torch

from pcbench.backends.torch import TorchBackend
from pcbench.contract import BackendUnavailableError, Capability
from tests.backends.torch import answers
from tests.helpers.linear_problems import random_problem


@pytest.fixture
def cuda_devices(monkeypatch):
    """Pretend that the machine has this many CUDA devices."""

    def pretend(count):
        monkeypatch.setattr(torch.cuda, "device_count", lambda: count)

    return pretend


@pytest.fixture
def metal(monkeypatch):
    """Pretend that the machine has, or has not, a Metal GPU."""

    def pretend(available):
        monkeypatch.setattr(torch.backends.mps, "is_available", lambda: available)

    return pretend


@pytest.fixture
def precision():
    """Put the precision of matrix products back."""
    before = torch.get_float32_matmul_precision()
    yield
    torch.set_float32_matmul_precision(before)


def refusal(device, dtype="float32"):
    with pytest.raises(BackendUnavailableError) as caught:
        TorchBackend(device, dtype)
    return str(caught.value)


@pytest.mark.parametrize("name", ["gpu", "", "cpu:x", "cuda:-2", "the big one"])
def test_what_is_no_device_is_refused_with_those_that_are(name):
    assert refusal(name) == f"{name!r} is not a device; use cpu, cuda, cuda:1 or mps"


@pytest.mark.parametrize("name", ["meta", "xpu"])
def test_devices_of_another_kind_are_refused_by_name(name):
    assert refusal(name) == f"the torch backend runs on cpu, cuda and mps, not on {name!r}"


def test_cuda_without_a_gpu_is_refused_with_the_remedy(cuda_devices):
    cuda_devices(0)
    expected = "no device 'cuda': this machine has no CUDA device; use --device cpu"
    assert refusal("cuda") == expected


def test_a_gpu_beyond_the_last_is_refused_with_how_many_there_are(cuda_devices):
    cuda_devices(2)
    assert refusal("cuda:2") == "no device 'cuda:2': this machine has 2; use --device cpu"


def test_metal_without_a_gpu_is_refused_with_the_remedy(metal):
    metal(False)
    assert refusal("mps") == "no device 'mps': this machine has no Metal GPU; use --device cpu"


def test_metal_has_no_double_precision(metal):
    metal(True)
    expected = "the device 'mps' has no float64; use --dtype float32, or --device cpu"
    assert refusal("mps", "float64") == expected


def test_every_optional_capability_is_offered():
    assert TorchBackend.capabilities == frozenset(Capability)
    assert TorchBackend.name == "torch"


@pytest.mark.parametrize("dtype", answers.DTYPES)
def test_a_description_is_json_and_names_what_numbers_depend_on(dtype):
    backend = TorchBackend("cpu", dtype)
    described = json.loads(json.dumps(backend.describe(), allow_nan=False))
    assert described["torch"] == torch.__version__
    assert described["device"] == described["device_name"] == "cpu"
    assert described["threads"] == torch.get_num_threads()
    assert (backend.device, backend.dtype) == ("cpu", dtype)


@pytest.mark.usefixtures("precision")
def test_products_in_float32_are_at_full_precision_and_the_report_says_so():
    torch.set_float32_matmul_precision("medium")
    torch.backends.cudnn.allow_tf32 = True
    described = TorchBackend("cpu", "float32").describe()
    assert described["float32_matmul_precision"] == "highest"
    assert described["tf32_convolutions"] is False
    assert torch.backends.cudnn.allow_tf32 is False
    assert torch.get_float32_matmul_precision() == "highest"


def test_a_cpu_has_no_accelerator_memory_and_nothing_to_wait_for():
    backend = TorchBackend()
    assert backend.peak_memory() is None
    assert backend.synchronize() is None


@answers.on_cuda
def test_a_gpu_reports_its_name_and_the_memory_used_since_the_last_question():
    backend = TorchBackend("cuda", "float32")
    assert backend.describe()["device_name"] == torch.cuda.get_device_name()
    backend.peak_memory()
    held = backend.to_device(np.zeros((1000, 1000)))
    assert backend.peak_memory() >= held.nbytes
    del held
    assert backend.peak_memory() >= 4_000_000 > (backend.peak_memory() or 0)


@answers.on_cuda
@pytest.mark.parametrize("dtype", answers.DTYPES)
def test_a_gpu_agrees_with_the_cpu(dtype):
    problem = random_problem((20, 100, 100, 10), samples=64).rounded(dtype)
    ours, theirs = (answers.ask(problem, dtype, device=device) for device in ("cuda", "cpu"))
    close = {"float32": 1e-4, "float64": 1e-12}[dtype]
    np.testing.assert_allclose(ours.energies, theirs.energies, rtol=close)
    for a, b in zip(ours.gradients, theirs.gradients, strict=True):
        assert np.linalg.norm(a - b) <= close * np.linalg.norm(b)


def test_it_knows_when_memory_has_run_out():
    backend = TorchBackend()
    with pytest.raises(RuntimeError) as caught:
        torch.empty(2**58)
    assert backend.ran_out_of_memory(caught.value)
    assert backend.ran_out_of_memory(torch.OutOfMemoryError("CUDA out of memory"))
    for said in ("MPS backend out of memory", "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when"):
        assert backend.ran_out_of_memory(RuntimeError(said))
    assert not backend.ran_out_of_memory(RuntimeError("shapes cannot be multiplied"))


def test_its_devices_can_be_had():
    assert TorchBackend.devices()[0] == "cpu"
    for device in TorchBackend.devices():
        assert TorchBackend(device, "float32").describe()["device"] == device


def products():
    """How products are done, as the backend says."""
    described = TorchBackend().describe()
    return described["float32_matmul_precision"], described["tf32_convolutions"]


@pytest.mark.usefixtures("precision")
def test_tf32_is_off_unless_it_is_asked_for(monkeypatch):
    assert products() == ("highest", False)
    monkeypatch.setenv("TORCH_ALLOW_TF32_CUBLAS_OVERRIDE", "1")
    assert products() == ("high", True)
    monkeypatch.setenv("TORCH_ALLOW_TF32_CUBLAS_OVERRIDE", "0")
    assert products() == ("highest", False)
