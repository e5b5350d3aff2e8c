"""pcbench's own faults, a file for what they have in common."""

from pcbench.audit.faults import (
    conduct,
    engines,
    hessians,
    inference,
    networks,
    optimisers,
    outputs,
    precisions,
    training,
)

FAULTS = (
    *outputs.FAULTS,
    *inference.FAULTS,
    *engines.FAULTS,
    *precisions.DTYPES,
    *hessians.FAULTS,
    *precisions.FAULTS,
    *networks.FAULTS,
    *conduct.FAULTS,
    *training.FAULTS,
    *optimisers.FAULTS,
)
"""All of them, in the order in which they are shown."""
