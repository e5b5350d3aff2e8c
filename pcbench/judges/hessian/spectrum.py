"""All eigenvalues of a whole Hessian, exactly, and sooner than a dense eigensolver has them."""

from __future__ import annotations

import numpy as np
import scipy.sparse
from jaxtyping import Float
from scipy.sparse.csgraph import connected_components


def block_eigenvalues(matrix: Float[np.ndarray, "P P"]) -> Float[np.ndarray, " P"]:
    """All eigenvalues of a symmetric matrix, ascending, block by block of its sparsity.

    Exact, like a dense eigensolver, but cubic only in the largest set of parameters that entries
    other than zero connect: at the origin that is one hidden unit's, not the network's.
    """
    graph = scipy.sparse.csr_array(matrix != 0)
    _, labels = connected_components(graph, directed=False)
    order = np.argsort(labels, kind="stable")
    members = np.split(order, np.flatnonzero(np.diff(labels[order])) + 1)
    singles = np.array([block[0] for block in members if len(block) == 1], dtype=np.intp)
    spectra = [matrix[singles, singles]]
    spectra += [_eigenvalues(matrix[np.ix_(block, block)]) for block in members if len(block) > 1]
    return np.sort(np.concatenate(spectra))


def _eigenvalues(matrix: Float[np.ndarray, "n n"]) -> Float[np.ndarray, " n"]:
    """All eigenvalues of a symmetric matrix, in any order.

    Where a few parameters connect all others, which have no entry among themselves (the last
    layer's do, at a zero-rank saddle), a QR factorisation of the others' rows turns them, by a
    rotation and so exactly, into as many as there are of the few, and zeros.
    """
    degrees = np.count_nonzero(matrix, axis=1)
    order = np.argsort(-degrees, kind="stable")
    few = int(np.searchsorted(-degrees[order], -np.sqrt(len(matrix))))
    hubs, others = order[:few], order[few:]
    if few > len(others) or matrix[np.ix_(others, others)].any():
        return np.linalg.eigvalsh(matrix)
    coupling = np.asarray(np.linalg.qr(matrix[np.ix_(others, hubs)], mode="r"))
    small = np.block([[matrix[np.ix_(hubs, hubs)], coupling.T], [coupling, np.zeros((few, few))]])
    return np.concatenate([np.linalg.eigvalsh(small), np.zeros(len(others) - few)])
