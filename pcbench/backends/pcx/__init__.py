"""PCX (https://github.com/liukidar/pcx) as a backend."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import ClassVar

from pcbench.backends._on_jax import OnJax
from pcbench.contract.parts import Capability

__all__ = ["PcxBackend"]


class PcxBackend(OnJax):
    """PCX (Pinchetti et al. 2024, arXiv:2407.01163), put together as its tutorials do.

    ==================  ============================================================================
    contract            PCX
    ==================  ============================================================================
    layers              ``pcx.nn.Linear``, and the activation where the network's convention has it:
                        a model's ``__call__`` is its user's to write
    activities          the values ``h`` of a ``Vode`` a layer; that of the output is frozen
    energy              ``Vode.energy`` with ``se_energy``, ``½ ‖h - u‖²`` of a sample; the
                        reduction over the batch is its user's to choose: energies and weight
                        gradients are those of a mean, as the contract's, forces those of a sum
    weight gradients    ``pcx.functional.value_and_grad`` in ``LayerParam``
    ``gradient``        the same in the ``VodeParam`` that are not frozen, and ``pcx.utils.Optim``
                        with ``optax.sgd``; the energy is a sum, so that ``step`` is its rate
    loss                the energy after a forward pass, where that of all hidden layers is zero;
                        so its value and gradients are of the output's ``Vode``
    not offered         every other engine, a halved step, precisions, convolutions, Hessians,
                        replicas, training
    ==================  ============================================================================

    Residuals are worked out from PCX's own gradient in the activities.
    """

    name: ClassVar[str] = "pcx"
    capabilities: ClassVar[frozenset[str]] = frozenset(
        {Capability.GRADIENT_INFERENCE, Capability.NONLINEAR}
    )
    title: ClassVar[str] = "PCX"
    module: ClassVar[str] = "pcx"
    model: ClassVar[str] = "pcbench.backends.pcx.model:PcxModel"
    remedy: ClassVar[str] = "install pcbench with its extra: pip install 'pcbench[pcx]'"
    packages: ClassVar[tuple[str, ...]] = ("pcx", "jax", "equinox", "optax")

    @contextmanager
    def computing(self, precision: object = None) -> Iterator[None]:
        """Compute as all backends on JAX do, and leave PCX's random keys as they were.

        An exception in a transformation of PCX 0.6.3 leaves a key of the transformation in their
        place, and no call after it would do.
        """
        import pcx

        key = pcx.RKG.key
        value = key.get()
        try:
            with super().computing(precision):
                yield
        finally:
            pcx.RKG.key = key
            key.set(value)
