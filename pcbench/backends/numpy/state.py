r"""A network between a clamped input and a clamped output, and its curvature at given activities.

With ``J_l = ∂f_l/∂z_{l-1}`` and ``Π_l`` the identity but at the output, ``∂²(N𝓕)/∂z²`` is block
tridiagonal (theory.md 2.3, 3.1). It is written down and solved with, sample by sample:

.. math::
    H_{l,l} = I + J_{l+1}^T Π_{l+1} J_{l+1} - Σ_k (Π e)_{l+1,k} ∇^2 f_{l+1,k}, \qquad
    H_{l,l+1} = - J_{l+1}^T .

Without the last term it is ``BᵀΠB``, where ``B = ∂e/∂z``: the Gauss-Newton part, positive definite,
and in a linear network all of it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise

import numpy as np
import scipy.linalg
import scipy.sparse as sp
import scipy.sparse.linalg
from jaxtyping import Float, Inexact

from pcbench.backends.numpy.layers import Batch, Entries, Layer, LayerAt, Matrix, in_order


@dataclass(frozen=True, slots=True)
class Clamped:
    """What inference is given: layers, a batch, and ``Π``, ones where no precision was given.

    Targets that are not observed are 0, whatever was given for them.
    """

    layers: Sequence[Layer]
    x: Batch
    y: Batch
    precision: Float[np.ndarray, "N d_L"]

    @classmethod
    def of(cls, layers: Sequence[Layer], x: Batch, y: Batch, precision: Batch | None) -> Clamped:
        """Clamp a batch."""
        if precision is None:
            return cls(layers, x, y, np.ones(y.shape))
        return cls(layers, x, np.where(precision > 0, y, 0.0), precision)

    def sample(self, n: int) -> Clamped:
        """Return a batch of one sample."""
        one = slice(n, n + 1)
        return Clamped(self.layers, self.x[one], self.y[one], self.precision[one])

    def at(self, hidden: Sequence[Batch]) -> State:
        """Look at hidden activities ``z_1 … z_{L-1}``."""
        below = [self.x, *hidden]
        return State(self, [layer.at(z) for layer, z in zip(self.layers, below, strict=True)])

    def roll_out(self, errors: Sequence[Batch]) -> State:
        """Look at the activities that have these hidden errors, ``z_l = f_l(z_{l-1}) + e_l``."""
        evaluated = [self.layers[0].at(self.x)]
        for layer, error in zip(self.layers[1:], errors, strict=True):
            evaluated.append(layer.at(evaluated[-1].value + error))
        return State(self, evaluated)

    def feedforward(self) -> State:
        """Look at the activities where every hidden error is zero."""
        return self.roll_out([np.zeros((1, 1))] * (len(self.layers) - 1))


@dataclass(frozen=True, slots=True)
class State:
    """The network at hidden activities: every layer at its input."""

    clamped: Clamped
    evaluated: list[LayerAt]

    @property
    def hidden(self) -> list[Batch]:
        """``z_1 … z_{L-1}``."""
        return [layer.z for layer in self.evaluated[1:]]

    @property
    def errors(self) -> list[Batch]:
        """``e_l = z_l - f_l(z_{l-1})`` for ``l = 1 … L``; 0 of outputs that are not observed."""
        above = [*self.hidden, self.clamped.y]
        errors = [z - layer.value for z, layer in zip(above, self.evaluated, strict=True)]
        errors[-1] = np.where(self.clamped.precision > 0, errors[-1], 0.0)
        return errors

    @property
    def forces(self) -> list[Batch]:
        """``∂(N𝓕)/∂e_l``: the errors, those of the output weighed by their precision."""
        *hidden, output = self.errors
        return [*hidden, self.clamped.precision * output]

    def slopes(self) -> list[Batch]:
        """``∂(N𝓕)/∂z_l = e_l - J_{l+1}ᵀ (Π e)_{l+1}`` of the hidden layers."""
        return [
            force - above.pull(beyond)
            for above, (force, beyond) in zip(
                self.evaluated[1:], pairwise(self.forces), strict=True
            )
        ]

    def gradients(self) -> list[Entries]:
        """``∂(N𝓕)/∂W_l``, then ``∂(N𝓕)/∂b_l``: local to each layer."""
        return in_order(
            layer.gradients(-force)
            for layer, force in zip(self.evaluated, self.forces, strict=True)
        )

    def sample_energies(self) -> Inexact[np.ndarray, "N L"]:
        """``½ e_lᵀ Π e_l`` of every sample and layer."""
        pairs = zip(self.errors, self.forces, strict=True)
        return np.stack([np.sum(e * f, axis=1) / 2 for e, f in pairs], axis=1)

    def energies(self) -> Inexact[np.ndarray, " L"]:
        """``1/(2N) Σ_n e_lᵀ Π e_l`` for ``l = 1 … L``."""
        samples = self.sample_energies()
        energies: Inexact[np.ndarray, " L"] = samples.sum(0) / np.float64(len(samples))
        return energies

    def moved(self, moves: Sequence[Batch]) -> State:
        """Look at ``z + δz``."""
        return self.clamped.at([z + dz for z, dz in zip(self.hidden, moves, strict=True)])

    def ending(self) -> list[Batch]:
        """``z_0 … z_L``: the output clamped, and as predicted where it is not observed."""
        clamped, predicted = self.clamped, self.evaluated[-1].value
        output = np.where(clamped.precision > 0, clamped.y, predicted)
        return [clamped.x, *self.hidden, output]


def side_by_side(layers: Sequence[Batch], like: Batch) -> Inexact[np.ndarray, "N n_hidden"]:
    """All hidden layers of a sample in one row."""
    return np.concatenate([like[:, :0], *layers], axis=1)


def by_layer(rows: Inexact[np.ndarray, "N n_hidden"], like: Sequence[Batch]) -> list[Batch]:
    """Take a row apart into hidden layers."""
    ends = np.cumsum([layer.shape[1] for layer in like])
    return np.split(rows, ends[:-1], axis=1) if like else []


Rows = Float[np.ndarray, "_N n_hidden"]
Solve = Callable[[Rows], Rows]
Block = Float[np.ndarray, "_rows _columns"]


@dataclass(frozen=True, slots=True)
class BlockTridiagonal:
    """A symmetric block-tridiagonal matrix: ``H_{l,l}``, ``l = 1 … L-1``, and ``H_{l,l+1}``."""

    diagonal: list[Block]
    above: list[Block]

    def cholesky(self, damping: float = 0.0) -> Solve:
        """Factorise ``H + damping I``, positive definite, in banded storage.

        Where it is not, because of numbers that are not finite, solutions are not numbers.
        """
        banded = self.banded()
        banded[-1] += damping
        try:
            factor = scipy.linalg.cholesky_banded(banded, check_finite=False)
        except np.linalg.LinAlgError:
            return _not_a_number
        solve = partial(scipy.linalg.cho_solve_banded, (factor, False), check_finite=False)
        return lambda rows: solve(rows.T).T

    def lu(self) -> Solve:
        """Factorise ``H``, which need not be definite, as a sparse matrix."""
        try:
            factor = scipy.sparse.linalg.splu(self.sparse())
        except RuntimeError:  # exactly singular
            return _not_a_number
        return lambda rows: factor.solve(np.ascontiguousarray(rows.T)).T

    def banded(self) -> Float[np.ndarray, "_bands n_hidden"]:
        """Store the upper triangle diagonal by diagonal: ``H[i, j]`` at ``[bands - 1 + i - j, j]``.

        As LAPACK wants it: the main diagonal comes last.
        """
        sizes = [len(block) for block in self.diagonal]
        reach = max([sizes[0], *(a + b for a, b in pairwise(sizes))])
        upper = sp.triu(self.sparse(), format="coo")
        i, j = upper.row, upper.col
        banded = np.zeros((reach, sum(sizes)))
        banded[reach - 1 + i - j, j] = upper.data
        return banded

    def sparse(self) -> sp.csc_array:
        """Write down the whole matrix."""
        depth = len(self.diagonal)
        blocks: list[list[sp.csr_array | None]] = [[None] * depth for _ in range(depth)]
        for l, block in enumerate(self.diagonal):
            blocks[l][l] = sp.csr_array(block)
        for l, block in enumerate(self.above):
            blocks[l][l + 1], blocks[l + 1][l] = sp.csr_array(block), sp.csr_array(block.T)
        return sp.csc_array(sp.block_array(blocks))


def gauss_newton_curvature(state: State, sample: int) -> BlockTridiagonal:
    """``BᵀΠB`` of a sample."""
    jacobians = [layer.jacobian(sample) for layer in state.evaluated[1:]]
    precisions = [np.ones(J.shape[0]) for J in jacobians]
    precisions[-1] = state.clamped.precision[sample]
    diagonal = [
        np.eye(J.shape[1]) + _dense(J.T @ (sp.diags_array(precision) @ J))
        for J, precision in zip(jacobians, precisions, strict=True)
    ]
    return BlockTridiagonal(diagonal, [-_dense(J.T) for J in jacobians[:-1]])


def full_curvature(state: State, sample: int) -> BlockTridiagonal:
    """``∂²(N𝓕)/∂z²`` of a sample: the Gauss-Newton part, and how layers bend under the forces."""
    straight = gauss_newton_curvature(state, sample)
    return BlockTridiagonal(
        [
            block - _dense(layer.bend(force, sample))
            for block, layer, force in zip(
                straight.diagonal, state.evaluated[1:], state.forces[1:], strict=True
            )
        ],
        straight.above,
    )


def each_sample(state: State, factorise: Callable[[State, int], Solve]) -> Solve:
    """Factorise the curvature of every sample, and return a solver of a row for each of them.

    In a network of affine layers it is the same in all samples of the same precision, and done
    once.
    """
    samples = len(state.clamped.x)
    if all(layer.layer.is_affine for layer in state.evaluated):
        _, group = np.unique(state.clamped.precision, axis=0, return_inverse=True)
        groups = [np.flatnonzero(group.ravel() == g) for g in range(group.max(initial=-1) + 1)]
    else:
        groups = [np.array([sample]) for sample in range(samples)]
    solvers = [(members, factorise(state, int(members[0]))) for members in groups]

    def solve(rows: Rows) -> Rows:
        solved = np.empty_like(rows)
        for members, one in solvers:
            solved[members] = one(rows[members])
        return solved

    return solve


def _dense(matrix: Matrix) -> Block:
    dense: Block = matrix if isinstance(matrix, np.ndarray) else matrix.toarray()
    return dense


def _not_a_number(rows: Rows) -> Rows:
    return np.full_like(rows, np.nan)
