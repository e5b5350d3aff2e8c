"""JPC (https://github.com/thebuckleylab/jpc) as a backend."""

from __future__ import annotations

from typing import ClassVar

from pcbench.backends._on_jax import OnJax
from pcbench.contract.parts import Capability

__all__ = ["JpcBackend"]


class JpcBackend(OnJax):
    """JPC (Innocenti et al. 2024, arXiv:2412.03676), by its own functions.

    ==================  ============================================================================
    contract            JPC
    ==================  ============================================================================
    layers              a list of ``Sequential(activation, Linear)``, as ``make_mlp`` makes it
                        (pre convention); in the other order where the post convention is asked for
    energy              ``pc_energy_fn``, a mean over the batch with the factor ½: the contract's.
                        Its layers come as ``L, 2, …, L-1, 1``, and are put in order
    output              the target stands apart from the activities; in their last place JPC keeps
                        a prediction that counts for nothing, and here the target is put there
    loss                ``mse_loss``: the contract's; its gradients by JAX
    weight gradients    ``compute_pc_param_grads``
    ``exact``           ``compute_linear_activity_solution``: a dense inverse of ``H_z``
    ``gradient``        ``update_pc_activities`` with ``optax.sgd``. Its gradient is that of the
                        mean, so that the contract's ``step`` is a learning rate of ``N · step``
    ``error``           ``init_epc_errors`` and ``update_epc_errors``, the same way
    ``ode``             ``solve_inference``: ``N`` times slower than the contract's flow
    Hessians            linear networks: products with ``compute_linear_equilib_energy_grads``,
                        which is Theorem 1, by JAX; of the loss, with the gradients above
    not offered         Gauss-Newton, a halved step, precisions, convolutions, replicas, training
    ==================  ============================================================================

    Residuals are worked out from JPC's own gradient in the activities.
    """

    name: ClassVar[str] = "jpc"
    capabilities: ClassVar[frozenset[str]] = frozenset(
        {
            Capability.EXACT_INFERENCE,
            Capability.GRADIENT_INFERENCE,
            Capability.ODE_INFERENCE,
            Capability.ERROR_INFERENCE,
            Capability.NONLINEAR,
            Capability.HESSIAN,
        }
    )
    title: ClassVar[str] = "JPC"
    module: ClassVar[str] = "jpc"
    model: ClassVar[str] = "pcbench.backends.jpc.model:JpcModel"
    remedy: ClassVar[str] = (
        "in an environment with pcbench, install it from its repository, "
        "https://github.com/thebuckleylab/jpc"
    )
    needs_hidden: ClassVar[bool] = True
    packages: ClassVar[tuple[str, ...]] = ("jpc", "jax", "equinox", "diffrax", "optax")
