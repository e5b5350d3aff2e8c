#!/usr/bin/env bash
# JAX 0.4.38 against PyTorch 2.13.0: jax.nn.leaky_relu at exactly 0.
#
# The likely guess: leaky_relu is the same function everywhere, with the derivative 0.01 at 0, as
# relu has the derivative 0 there in both libraries: the slope of the left side.
# What it does: jax.nn.leaky_relu has the slope of the right side, 1, at 0. PyTorch has 0.01. Where
# activities start at 0 (no input, no bias), gradients of the two differ by a factor of 100 a layer.
#
# Output seen:
#   relu at 0: jax 0, torch 0; leaky_relu at 0: jax 1, torch 0.01
#
# Exits 0 while it is so, 1 when that has changed, 2 if the packages cannot be installed.
set -euo pipefail
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
{ python3 -m venv "$place/env" && "$place/env/bin/pip" install --quiet jax==0.4.38 jaxlib==0.4.38 torch==2.13.0 numpy==2.4.6; } || exit 2
cd "$place"
JAX_PLATFORMS=cpu "$place/env/bin/python" - <<'PYTHON'
import sys

import jax
import torch


def by_torch(function):
    z = torch.zeros((), requires_grad=True)
    function(z).backward()
    return float(z.grad)


relu = float(jax.grad(jax.nn.relu)(0.0)), by_torch(torch.nn.functional.relu)
leaky = float(jax.grad(jax.nn.leaky_relu)(0.0)), by_torch(torch.nn.functional.leaky_relu)
print("relu at 0: jax {:.3g}, torch {:.3g};".format(*relu), end=" ")
print("leaky_relu at 0: jax {:.3g}, torch {:.3g}".format(*leaky))
sys.exit(0 if relu == (0, 0) and leaky[0] == 1 and abs(leaky[1] - 0.01) < 1e-6 else 1)
PYTHON
