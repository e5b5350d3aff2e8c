"""pcbench's own faults, a file for what they have in common."""

from pcbench.audit.faults import (
    conduct,
    dtypes,
    engines,
    gradients,
    hessians,
    inference,
    long_runs,
    networks,
    optimisers,
    outputs,
    precisions,
    sizes,
    training,
)

FAULTS = (
    *outputs.FAULTS,
    *gradients.FAULTS,
    *inference.FAULTS,
    *engines.FAULTS,
    *dtypes.FAULTS,
    *hessians.FAULTS,
    *precisions.FAULTS,
    *networks.FAULTS,
    *sizes.FAULTS,
    *conduct.FAULTS,
    *training.FAULTS,
    *optimisers.FAULTS,
    *long_runs.FAULTS,
)
"""All of them, in the order in which they are shown."""
