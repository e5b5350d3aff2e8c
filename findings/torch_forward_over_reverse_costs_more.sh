#!/usr/bin/env bash
# PyTorch 2.13.0 on a CPU: the product of a Hessian and one vector, forward over reverse.
#
# The likely guess: jvp(grad(loss)), forward over reverse, is the cheap way, as tutorials on automatic
# differentiation say: it stores nothing for a second pass backward, and costs about two gradients.
# What it does: it costs more than differentiating the gradient backward once more, from scratch, by
# 2 to 4 times in networks of 20 to 100 units, and still by a third at 500. Lanczos, which multiplies
# one vector at a time, pays that at every step.
#
# Output seen (medians of one thread; times vary by machine):
#   width  20: forward over reverse 1.83 ms, reverse over reverse 0.48 ms, ratio 3.8
#   width 100: forward over reverse 2.56 ms, reverse over reverse 1.00 ms, ratio 2.6
#
# Exits 0 while the ratio at width 100 is above 1.5, 1 when that has changed, 2 if the packages cannot
# be installed.
set -euo pipefail
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
{ python3 -m venv "$place/env" && "$place/env/bin/pip" install --quiet torch==2.13.0 numpy==2.4.6; } || exit 2
cd "$place"
"$place/env/bin/python" - <<'PYTHON'
import statistics
import sys
import time

import torch
from torch.func import grad, jvp

torch.set_num_threads(1)


def network(width, layers, samples):
    draw = torch.Generator().manual_seed(0)
    weights = [torch.randn(width, width, generator=draw) / width**0.5 for _ in range(layers)]
    x, y = (torch.randn(samples, width, generator=draw) for _ in range(2))

    def loss(weights):
        z = x
        for weight in weights:
            z = torch.tanh(z @ weight.T)
        return ((y - z) ** 2).sum() / (2 * samples)

    return loss, tuple(weights), tuple(torch.randn_like(weight) for weight in weights)


def forward_over_reverse(loss, weights, vector):
    return jvp(grad(loss), (weights,), (vector,))[1]


def reverse_over_reverse(loss, weights, vector):
    leaves = [weight.clone().requires_grad_() for weight in weights]
    gradient = torch.autograd.grad(loss(leaves), leaves, create_graph=True)
    return torch.autograd.grad(gradient, leaves, vector)


for width, samples in ((20, 8), (100, 64)):
    question = network(width, 3, samples)
    ways = (forward_over_reverse, reverse_over_reverse)
    one, other = (way(*question) for way in ways)
    assert all(torch.allclose(a, b, atol=1e-5) for a, b in zip(one, other))
    times = {way: [] for way in ways}
    for _ in range(31):
        for way in ways:
            begun = time.process_time()
            way(*question)
            times[way].append(time.process_time() - begun)
    forward, reverse = (1e3 * statistics.median(times[way]) for way in ways)
    ratio = forward / reverse
    print(
        f"width {width:3}: forward over reverse {forward:.2f} ms, "
        f"reverse over reverse {reverse:.2f} ms, ratio {ratio:.1f}"
    )
sys.exit(0 if ratio > 1.5 else 1)
PYTHON
