#!/usr/bin/env bash
# PyTorch 2.13.0, JAX 0.4.38, NumPy 2.4.6 and SciPy 1.17.1: norms of float32 gradients near a saddle.
#
# The likely guess: the norm of an array of normal numbers is about as large as the numbers, and all
# libraries agree on it to a few roundings, as BLAS does since 1979: nrm2 scales before it squares.
# What they do: torch.linalg.vector_norm (and torch._foreach_norm, on which clipping of gradients
# rests), jax.numpy.linalg.norm and numpy.linalg.norm square first. Of a network of four layers whose
# weights are about 1e-8, the gradient of the first layer has entries up to 1e-23, all of which float32
# holds to full precision, and a norm of exactly 0: a run that stops when the gradient's norm is small
# stops at the saddle, and a run that divides by the norm divides by 0. scipy.linalg.norm has the norm,
# and so has torch with dtype=torch.float64.
#
# Output seen (of the first layer):
#   largest entry 1.7e-23, none of them subnormal
#   norms: torch 0, torch foreach 0, torch in float64 7.14e-23, jax 0, numpy 0, scipy 7.14e-23
#
# Exits 0 while it is so, 1 when that has changed, 2 if the packages cannot be installed.
set -euo pipefail
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
{ python3 -m venv "$place/env" && "$place/env/bin/pip" install --quiet jax==0.4.38 jaxlib==0.4.38 torch==2.13.0 numpy==2.4.6 scipy==1.17.1; } || exit 2
cd "$place"
JAX_PLATFORMS=cpu "$place/env/bin/python" - <<'PYTHON'
import sys

import jax.numpy as jnp
import numpy as np
import scipy.linalg
import torch

draw = torch.Generator().manual_seed(0)
widths = (10, 20, 20, 20, 5)
weights = [
    (1e-8 * torch.randn(rows, columns, generator=draw)).requires_grad_()
    for columns, rows in zip(widths, widths[1:])
]
x, y = (torch.randn(64, width, generator=draw) for width in (widths[0], widths[-1]))
z = x
for weight in weights:
    z = z @ weight.T
loss = ((y - z) ** 2).sum() / (2 * len(x))
gradient = torch.autograd.grad(loss, weights)[0]
host = gradient.numpy()
sizes = np.abs(host[host != 0])
normal = sizes.min() >= np.finfo(np.float32).tiny
print(f"largest entry {sizes.max():.2g}, {'none' if normal else 'some'} of them subnormal")
norms = {
    "torch": torch.linalg.vector_norm(gradient).item(),
    "torch foreach": torch._foreach_norm([gradient])[0].item(),
    "torch in float64": torch.linalg.vector_norm(gradient, dtype=torch.float64).item(),
    "jax": float(jnp.linalg.norm(jnp.asarray(host))),
    "numpy": float(np.linalg.norm(host)),
    "scipy": float(scipy.linalg.norm(host.ravel())),
}
print("norms: " + ", ".join(f"{name} {norm:.3g}" for name, norm in norms.items()))
zero = all(norms[name] == 0 for name in ("torch", "torch foreach", "jax", "numpy"))
sys.exit(0 if zero and normal and norms["scipy"] > 0 and norms["torch in float64"] > 0 else 1)
PYTHON
