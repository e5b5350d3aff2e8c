"""The audit's faulty trainers, and the check of a step that is there for the mistake of each."""

from pcbench.audit.catalogue import put
from pcbench.audit.faults import optimisers, training
from pcbench.backends.torch import TorchBackend
from tests.cases.faulty.catalogued import CATALOGUE

AFTER, KEPT = "parameters after a step", "parameters of replicas kept"
MALFORMED = "malformed answers of training"

# What the others corrupt shows in the parameters after a step.
OTHER_CHECKS = {
    "MovesItsModel": "model that training began with",
    "LeavesItsModel": "loss of the model that training left",
    "LivesOnTheHost": "parameters brought to the host",
    "StartsElsewhere": "parameters at the start",
    "OneBatchARun": "steps taken in one run",
    "KeepsInOrder": KEPT,
    "KeepsTheFirst": KEPT,
    "ParametersBecomeNan": MALFORMED,
    "ForgetsAReplica": MALFORMED,
    "LossAfter": "loss of a step",
    "EnergyAfter": "energy of a step",
    "ScaledNorms": "gradient norms",
    "NormsOfNeighbours": "gradient norms",
    "NormsAfter": "parameter norms",
    "RecordsEveryStep": "steps recorded in one run",
    "RecordsTheFirst": "what one run records",
    "ResidualHalved": "residual of inference",
    "InferenceNotCounted": "steps of inference",
    "LearnsFromStaleActivities": "gradient norms",
}
FAULTS = {
    fault.__name__: (fault, OTHER_CHECKS.get(fault.__name__, AFTER))
    for fault in (*training.FAULTS, *optimisers.OPTIMISERS, CATALOGUE["TrainingSeesUnobserved"])
}
"""The fault, and the check that must fail."""


def training_with(mistaken):
    """Return what makes a PyTorch backend with a mistake."""
    return lambda dtype: put(mistaken, TorchBackend(dtype=dtype))
