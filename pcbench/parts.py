"""The parts of a backend's contract: what a mistake corrupts, and what a suite claims to judge."""

from enum import StrEnum


class Part(StrEnum):
    """A part of the contract (:mod:`pcbench.backends.base`).

    A suite names those that it judges under ``covers``; every fault of :mod:`pcbench.audit` names
    the one that it corrupts.
    """

    PREDICTION = "prediction"
    """``Model.predict``."""
    LOSS = "loss"
    """``Model.loss``."""
    LOSS_GRADIENTS = "loss_gradients"
    """``Model.loss_gradients``, of weights."""
    ENERGIES = "energies"
    """Energies of given activities, and those that inference reports."""
    ENERGY_GRADIENTS = "energy_gradients"
    """``Model.energy_gradients``, of weights."""
    INFERENCE = "inference"
    """Where inference ends: activities, and the energy there."""
    INFERENCE_PATH = "inference_path"
    """How it gets there: the steps of an engine, their number, and the record of them."""
    INFERENCE_ACCOUNT = "inference_account"
    """What inference says of where it ended: residuals, and whether it converged."""
    LOSS_HESSIAN = "loss_hessian"
    """``Model.loss_hessian``."""
    ENERGY_HESSIAN = "energy_hessian"
    """``Model.energy_hessian``."""
    UNROLLED_HESSIAN = "unrolled_hessian"
    """``Model.unrolled_hessian``."""
    PRECISION = "precision"
    """What becomes of outputs that are weighted, or not observed."""
    ACTIVATIONS = "activations"
    """Activations and their derivatives, and where they sit."""
    BIASES = "biases"
    """Biases and their gradients."""
    CONVOLUTIONS = "convolutions"
    """Kernels, channels and images."""
    REPLICAS = "replicas"
    """Each replica's answers are its own."""
    DTYPE = "dtype"
    """All is computed in the dtype that is asked for."""
    PURITY = "purity"
    """Inputs stay as they were, and an answer depends on nothing but the question."""
    ROBUSTNESS = "robustness"
    """What comes of no samples, and of numbers that are none."""
    TRAINING = "training"
    """``Model.trainer``: by which rule it learns, and what it records."""
    OPTIMISERS = "optimisers"
    """The optimiser's step, and its state."""
