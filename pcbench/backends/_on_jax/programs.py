"""How many compiled programs JAX keeps.

JAX forgets none by itself, and each holds regions of mapped memory: a thousand for all that may be
asked of one network. Linux lets a process have 65,530, and when JAX asks for one more the process
ends. A few hundred networks, in a suite that asks about many, are enough.
"""

from __future__ import annotations

from pcbench.networks import NetworkSpec

NETWORKS = 16
"""Of how many networks programs are kept; few suites go back and forth between more."""

_kept: set[NetworkSpec] = set()


def make_room(network: NetworkSpec) -> None:
    """Forget the programs of other networks, if there are many, before one more is built.

    What is asked of them again is compiled again.
    """
    import jax

    _kept.add(network)
    if len(_kept) > NETWORKS:
        jax.clear_caches()
        _kept.clear()
        _kept.add(network)
