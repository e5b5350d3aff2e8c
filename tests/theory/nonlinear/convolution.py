"""Convolutions of stride 1 that keep height and width, kernels not flipped, by definition."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

Images = Float[np.ndarray, "_N _c _h _w"]
Kernels = Float[np.ndarray, "_out _inp _k _k"]


def convolve(weight: Kernels, images: Images) -> Images:
    """``out[o, i, j] = Σ_{c, p, q} weight[o, c, p, q] padded[c, i + p, j + q]``, each image."""
    kernel, (height, width) = weight.shape[-1], images.shape[2:]
    padded = pad(images, kernel)
    out: Images = np.zeros((len(images), len(weight), height, width))
    for p, q in np.ndindex(kernel, kernel):
        seen = padded[:, :, p : p + height, q : q + width]
        out += np.einsum("oc,nchw->nohw", weight[:, :, p, q], seen, optimize=True)
    return out


def convolve_transposed(weight: Kernels, forces: Images) -> Images:
    """Return each force to every pixel that its place was computed from, the padding cut off."""
    kernel, (height, width) = weight.shape[-1], forces.shape[2:]
    padded = pad(np.zeros((len(forces), weight.shape[1], height, width)), kernel)
    for p, q in np.ndindex(kernel, kernel):
        back = np.einsum("oc,nohw->nchw", weight[:, :, p, q], forces, optimize=True)
        padded[:, :, p : p + height, q : q + width] += back
    margin = (kernel - 1) // 2
    return padded[:, :, margin : margin + height, margin : margin + width]


def kernel_gradient(driven: Images, forces: Images, kernel: int) -> Kernels:
    """``Σ_{n, i, j} force[o, i, j] padded[c, i + p, j + q]`` at ``[o, c, p, q]``."""
    (height, width), padded = driven.shape[2:], pad(driven, kernel)
    gradient = np.empty((forces.shape[1], driven.shape[1], kernel, kernel))
    for p, q in np.ndindex(kernel, kernel):
        seen = padded[:, :, p : p + height, q : q + width]
        gradient[:, :, p, q] = np.einsum("nohw,nchw->oc", forces, seen, optimize=True)
    return gradient


def pad(images: Images, kernel: int) -> Images:
    """Surround every image with ``(kernel - 1) / 2`` zeros."""
    margin = (kernel - 1) // 2
    padded: Images = np.pad(images, ((0, 0), (0, 0), (margin, margin), (margin, margin)))
    return padded
