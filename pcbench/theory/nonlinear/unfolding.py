"""Convolutions as the matrix products that they are: each inner product a row times a column.

A dense layer is one already. The rows of a convolution are the patches of its images, one a place.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from pcbench.theory.nonlinear.layered import Batch, Layered
from pcbench.theory.rounding.summation import operator_norm_bound

Rows = Float[np.ndarray, "_rows _terms"]


def seen_rows(network: Layered, l: int, u: Batch) -> Rows:
    """What ``A_l`` is multiplied with: ``u``, or its patches, ``(N h w, c k k)``."""
    if not network.is_convolution(l):
        return u
    return _patches(u.reshape(len(u), *network.images[l - 1]), network.weights[l - 1].shape[-1])


def seen_columns(network: Layered, l: int) -> Rows:
    """``A_lᵀ`` as a matrix, ``(c k k, o)`` of a convolution."""
    weight = network.weights[l - 1]
    return weight.reshape(len(weight), -1).T


def force_rows(network: Layered, l: int, force: Batch) -> Rows:
    """What ``A_lᵀ`` is multiplied with: forces at the potentials, or patches of them."""
    if not network.is_convolution(l):
        return force
    _, height, width = network.images[l - 1]
    images = force.reshape(len(force), -1, height, width)
    return _patches(images, network.weights[l - 1].shape[-1])


def force_columns(network: Layered, l: int) -> Rows:
    """``A_l`` as the matrix that pulls forces back: of a convolution flipped, ``(o k k, c)``."""
    weight = network.weights[l - 1]
    if weight.ndim == 2:
        return weight
    flipped = weight[:, :, ::-1, ::-1].transpose(0, 2, 3, 1)
    return flipped.reshape(-1, weight.shape[1])


def by_place(network: Layered, l: int, units: Batch) -> Rows:
    """One row a place of the image, its channels in it: ``(N h w, channels)``."""
    if not network.is_convolution(l):
        return units
    _, height, width = network.images[l - 1]
    images = units.reshape(len(units), -1, height * width)
    return images.swapaxes(1, 2).reshape(-1, images.shape[1])


def by_sample(network: Layered, l: int, rows: Rows) -> Batch:
    """Undo ``by_place``."""
    if not network.is_convolution(l):
        return rows
    _, height, width = network.images[l - 1]
    places = rows.reshape(-1, height * width, rows.shape[1])
    return places.swapaxes(1, 2).reshape(len(places), -1)


def map_norm_bound(network: Layered, l: int) -> float:
    """Bound ``‖A_l‖_2``: a place of an image is seen by ``k²`` patches."""
    weight = network.weights[l - 1]
    seen = float(weight.shape[-1]) if network.is_convolution(l) else 1.0
    return seen * operator_norm_bound(seen_columns(network, l))


def _patches(images: Float[np.ndarray, "_N _c _h _w"], kernel: int) -> Rows:
    margin = (kernel - 1) // 2
    padded = np.pad(images, ((0, 0), (0, 0), (margin, margin), (margin, margin)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (kernel, kernel), axis=(2, 3))
    return windows.transpose(0, 2, 3, 1, 4, 5).reshape(-1, images.shape[1] * kernel**2)
