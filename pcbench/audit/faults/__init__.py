"""pcbench's own faults, a file for what they have in common."""

from pcbench.audit.faults import (
    account,
    closed_form,
    dtypes,
    energies,
    gradients,
    hessians,
    inference,
    masks,
    missing,
    networks,
    optimisers,
    outputs,
    purity,
    records,
    replicas,
    rules,
    steps,
    training,
)

FAULTS = (
    *outputs.FAULTS,
    *gradients.FAULTS,
    *energies.FAULTS,
    *closed_form.FAULTS,
    *inference.FAULTS,
    *account.FAULTS,
    *steps.FAULTS,
    *dtypes.FAULTS,
    *hessians.FAULTS,
    *masks.FAULTS,
    *networks.FAULTS,
    *replicas.FAULTS,
    *purity.FAULTS,
    *missing.FAULTS,
    *rules.FAULTS,
    *training.FAULTS,
    *optimisers.FAULTS,
    *records.FAULTS,
)
"""All of them, in the order in which they are shown."""
