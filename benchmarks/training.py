"""Training side by side: ``python benchmarks/training.py``.

Everything is timed in alternating blocks of one run, and ratios are medians of blocks. Batch 64,
784 inputs, 4 hidden layers of 500, 10 outputs, float32, weights N(0, 0.005²), SGD, unless said.
Plain BP is a loop over autograd and ``torch.optim.SGD``; the notebooks' PC takes 50 gradient steps
of inference, each through autograd, as the paper's authors do.
"""

from __future__ import annotations

# Before torch is loaded: it says how long torch's threads spin.
from pcbench.backends.torch import TorchBackend

# isort: split
from collections.abc import Callable, Sequence
from functools import partial
from itertools import pairwise
from statistics import median
from time import perf_counter

import numpy as np
import torch
from torch import Tensor

from pcbench.contract import ExactInference, Objective, Sgd, TrainingSettings
from pcbench.networks import ActivationName, NearOrigin, NetworkSpec

WIDTHS = (784, 500, 500, 500, 500, 10)
BATCH, SAMPLES, RATE = 64, 1_000, 1e-3
BLOCKS, STEPS = 15, 20
INFERENCE_STEPS, INFERENCE_STEP = 50, 0.1

Shapes = tuple[tuple[int, int], tuple[int, int]]


class Setting:
    """A network near the origin, and batches."""

    def __init__(
        self,
        widths: tuple[int, ...] = WIDTHS,
        activation: ActivationName = "identity",
        replicas: int = 0,
        std: float = 0.005,
    ) -> None:
        rng = np.random.default_rng(0)
        self.network = NetworkSpec(widths, activation)
        backend = TorchBackend("cpu", "float32")
        weights = NearOrigin(std=std).draw(self.network, rng)
        if replicas:
            weights = [np.stack([weight] * replicas) for weight in weights]
        self.backend, self.model = backend, backend.build(self.network, weights)
        self.x = backend.to_device(rng.standard_normal((SAMPLES, widths[0])))
        classes = rng.integers(0, widths[-1], SAMPLES)
        self.y = backend.to_device(np.eye(widths[-1])[classes])
        shape = (STEPS, replicas, BATCH) if replicas else (STEPS, BATCH)
        self.batches = rng.integers(0, SAMPLES, shape)

    def ours(self, objective: Objective) -> Callable[[], object]:
        """Return a run of this package's training."""
        trainer = self.backend.trainer(
            self.model, self.x, self.y, TrainingSettings(objective, Sgd(), RATE)
        )
        return partial(trainer.run, STEPS, self.batches, STEPS)

    def plain(self, step: Callable[[list[Tensor], Tensor, Tensor], None]) -> Callable[[], object]:
        """Return a run of a plain loop, whose step leaves gradients at the weights."""
        weights = [weight.clone().requires_grad_() for weight in self.model.weights]
        optimiser = torch.optim.SGD(weights, lr=RATE)
        rows = torch.from_numpy(self.batches)

        def run() -> None:
            for chosen in rows:
                optimiser.zero_grad()
                step(weights, self.x[chosen], self.y[chosen])
                optimiser.step()

        return run


def backpropagation(weights: list[Tensor], x: Tensor, y: Tensor) -> None:
    """Autograd's gradients of the loss."""
    for weight in weights:
        x = x @ weight.mT
    torch.autograd.backward((y - x).square().sum() / (2 * len(x)))


def notebook(weights: list[Tensor], x: Tensor, y: Tensor) -> None:
    """Gradient steps of inference, then gradients of the energy, all through autograd."""
    energy = notebook_energy(weights, x, y, notebook_inference(weights, x, y))
    torch.autograd.backward(energy / len(x))


def notebook_inference(weights: list[Tensor], x: Tensor, y: Tensor) -> list[Tensor]:
    """Hidden activities after 50 steps from the feedforward pass."""
    hidden, activity = [], x
    for weight in weights[:-1]:
        activity = activity @ weight.detach().mT
        hidden.append(activity)
    for _ in range(INFERENCE_STEPS):
        hidden = [activity.detach().requires_grad_() for activity in hidden]
        energy = notebook_energy([weight.detach() for weight in weights], x, y, hidden)
        slopes = torch.autograd.grad(energy, hidden)
        hidden = [z - INFERENCE_STEP * slope for z, slope in zip(hidden, slopes, strict=True)]
    return [activity.detach() for activity in hidden]


def notebook_energy(
    weights: list[Tensor], x: Tensor, y: Tensor, hidden: Sequence[Tensor]
) -> Tensor:
    """``N 𝓕``."""
    layers = zip(weights, [x, *hidden], [*hidden, y], strict=True)
    return sum(
        ((above - below @ weight.mT).square().sum() / 2 for weight, below, above in layers),
        start=torch.zeros(()),
    )


def side_by_side(works: dict[str, Callable[[], object]]) -> dict[str, list[float]]:
    """Time works in alternating blocks; seconds a step, one entry a block."""
    times: dict[str, list[float]] = {name: [] for name in works}
    for block in range(-2, BLOCKS):
        for name, work in works.items():
            start = perf_counter()
            work()
            if block >= 0:
                times[name].append((perf_counter() - start) / STEPS)
    return times


def ratio(times: dict[str, list[float]], a: str, b: str) -> float:
    """Median over blocks of one time in units of another."""
    return median(p / q for p, q in zip(times[a], times[b], strict=True))


def steps() -> None:
    """A step of BP and of PC, and what people use."""
    setting = Setting()
    times = side_by_side(
        {
            "BP": setting.ours("loss"),
            "PC": setting.ours("energy"),
            "plain BP": setting.plain(backpropagation),
            "notebooks": setting.plain(notebook),
        }
    )
    for name, samples in times.items():
        print(f"  {name:<10} {1e3 * median(samples):9.3f} ms a step")
    print(f"  PC / BP          {ratio(times, 'PC', 'BP'):7.2f}   (at most 1.2)")
    print(f"  BP / plain BP    {ratio(times, 'BP', 'plain BP'):7.2f}   (at most 1)")
    print(f"  notebooks / PC   {ratio(times, 'notebooks', 'PC'):7.1f}   (at least 8)")


def inference_error() -> None:
    """How far above its minimum the energy is where inference ends, relative, in float64."""
    for name, std in (("near the origin", 0.005), ("as trained", 0.04)):
        setting = Setting(std=std)
        weights = [weight.double() for weight in setting.model.weights]
        x, y = setting.x[:BATCH].double(), setting.y[:BATCH].double()
        reached = notebook_energy(weights, x, y, notebook_inference(weights, x, y))
        exact = setting.model.infer(setting.x[:BATCH], setting.y[:BATCH], ExactInference())
        hidden = [activity.double() for activity in exact.activities[1:-1]]
        ours = notebook_energy(weights, x, y, hidden)
        double = TorchBackend("cpu", "float64").build(
            setting.network, [weight.numpy() for weight in weights]
        )
        least = double.infer(x, y, ExactInference()).energies.sum() * BATCH
        print(
            f"  {name:<16} notebooks {float(reached / least - 1):.1e}   "
            f"here {abs(float(ours / least - 1)):.1e}"
        )


def chains() -> None:
    """Five seeds of the chains of figure 2 under both rules, in units of one seed."""
    for hidden_layers in (1, 2):
        widths = (1,) * (hidden_layers + 2)
        one, five = (Setting(widths, replicas=replicas, std=0.05) for replicas in (1, 5))

        def both(setting: Setting) -> Callable[[], object]:
            bp, pc = setting.ours("loss"), setting.ours("energy")
            return lambda: (bp(), pc())

        times = side_by_side({"one": both(one), "five": both(five)})
        print(
            f"  {hidden_layers} hidden   one seed {1e6 * median(times['one']):6.0f} us, "
            f"five seeds {1e6 * median(times['five']):6.0f} us: "
            f"{ratio(times, 'five', 'one'):.2f} times   (at most 1.5)"
        )


def product_rate() -> None:
    """How much of a step's time its products alone take, at the same shapes."""
    setting = Setting(activation="tanh")
    products = [(torch.randn(*a), torch.randn(*b)) for a, b in _products_of_backpropagation(WIDTHS)]
    linear = Setting()
    thin = [(torch.randn(*a), torch.randn(*b)) for a, b in _products_of_few_rows(WIDTHS)]
    updates = [
        (
            weight.clone(),
            torch.randn(WIDTHS[-1], weight.shape[0]),
            torch.randn(WIDTHS[-1], weight.shape[1]),
        )
        for weight in linear.model.weights[:-1]
    ]

    def alone(pairs: list[tuple[Tensor, Tensor]]) -> Callable[[], object]:
        return lambda: [a @ b for _ in range(STEPS) for a, b in pairs]

    def few_rows() -> None:
        for _ in range(STEPS):
            for a, b in thin:
                a @ b
            for weight, left, right in updates:
                weight.addmm_(left.mT, right, alpha=-1e-6)

    times = side_by_side(
        {
            "BP, tanh": setting.ours("loss"),
            "its products": alone(products),
            "PC": linear.ours("energy"),
            "its products of few rows": few_rows,
        }
    )
    flops = sum(2 * a.shape[0] * a.shape[1] * b.shape[1] for a, b in products)
    rate = flops / median(times["its products"])
    print(f"  products of a BP step (tanh): {rate / 1e9:.0f} GFlop/s alone")
    print(
        f"  the step reaches {ratio(times, 'its products', 'BP, tanh'):.2f} of that (at least 0.5)"
    )
    part = ratio(times, "its products of few rows", "PC")
    print(f"  a PC step reaches {part:.2f} of the rate of its own, of 10 rows (at least 0.5)")


def _products_of_backpropagation(
    widths: tuple[int, ...],
) -> list[Shapes]:
    """Shapes of the products of a step: forward, back, and gradients."""
    forward = [((BATCH, i), (i, o)) for i, o in pairwise(widths)]
    back = [((BATCH, o), (o, i)) for i, o in pairwise(widths[1:])]
    gradients = [((o, BATCH), (BATCH, i)) for i, o in pairwise(widths)]
    return forward + back + gradients


def _products_of_few_rows(widths: tuple[int, ...]) -> list[Shapes]:
    """Shapes of the products of a linear network's step that meet a weight or the batch."""
    rows, inputs = widths[-1], widths[0]
    chains = [((rows, o), (o, i)) for i, o in pairwise(widths[:-1])]
    carried = [((rows, i), (i, o)) for i, o in pairwise(widths[:-1])]
    batch = [((rows, inputs), (inputs, BATCH)), ((rows, BATCH), (BATCH, inputs))]
    return chains + carried + batch


if __name__ == "__main__":
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads, float32, batch {BATCH}")
    for measure in (steps, inference_error, chains, product_rate):
        print((measure.__doc__ or "").splitlines()[0])
        measure()
