r"""How a network's gradients change, to first order, along parameters and hidden activities.

With the force ``g`` on the output of a layer, ``q = φ_out'(a) * unpool(g)`` and ``p = φ_in'(z) *
Aᵀ q``, the layer's parameters meet ``q sᵀ`` and ``q``, and its input ``p``. Where ``A`` moves by
``V``, ``b`` by ``v``, the input by ``δz`` and the force by ``δg``, the rules of sum and product
give

.. math::
    δs = φ_{in}' δz, \quad δa = A δs + V s + v, \quad δf = pool(φ_{out}' δa), \quad
    δq = φ_{out}' unpool(δg) + φ_{out}'' δa\, unpool(g), \quad
    δp = φ_{in}' (A^T δq + V^T q) + φ_{in}'' δz\, A^T q .
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pcbench.backends.numpy.layers import LayerAt
from pcbench.backends.numpy.maps import AffineMap, Batch, Entries
from pcbench.backends.numpy.network import split


@dataclass(frozen=True, slots=True)
class LayerTangent:
    """A layer that moves.

    Attributes
    ----------
    at
        The layer, where it is.
    along
        ``V`` and ``v``; ``None`` if the parameters stay.
    dz, ds, da, df
        How its input, what ``A`` sees, potential and output move.
    """

    at: LayerAt
    along: AffineMap | None
    dz: Batch
    ds: Batch
    da: Batch
    df: Batch

    @classmethod
    def of(cls, at: LayerAt, along: AffineMap | None, dz: Batch) -> LayerTangent:
        """Move the input and the parameters."""
        ds = at.inner * dz
        da = at.layer.affine.push(ds)
        if along is not None:
            da = da + along(at.seen)
        return cls(at, along, dz, ds, da, at.pool(at.outer * da))

    def turn(self, g: Batch, dg: Batch) -> tuple[Batch, Batch]:
        """Return ``δq`` and ``δp`` where the force ``g`` moves by ``δg``."""
        at, affine = self.at, self.at.layer.affine
        curvature = at.layer.after.curvature(at.potential)
        dq = at.to_potential(dg) + curvature * self.da * at.unpool(g)
        q = at.to_potential(g)
        turned = affine.pull(dq)
        if self.along is not None:
            turned = turned + self.along.pull(q)
        bent = at.layer.before.curvature(at.z) * self.dz * affine.pull(q)
        return dq, at.inner * turned + bent

    def gradients(self, g: Batch, dq: Batch) -> tuple[Entries, Entries | None]:
        """Return how ``Σ_n q_n s_nᵀ`` and ``Σ_n q_n`` move."""
        at, affine = self.at, self.at.layer.affine
        weight = affine.weight_gradient(at.seen, dq)
        weight = weight + affine.weight_gradient(self.ds, at.to_potential(g))
        return weight, None if affine.bias is None else affine.bias_gradient(dq)


def directions(at: Sequence[LayerAt], vector: Sequence[Entries]) -> list[AffineMap]:
    """Make of a vector of parameters the maps ``z ↦ V_l z + v_l``."""
    weights, biases = split(len(at), vector)
    return [
        layer.layer.affine.along(weight, bias)
        for layer, weight, bias in zip(at, weights, biases, strict=True)
    ]
