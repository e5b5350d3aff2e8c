"""What the checks of steps of training read, whichever kind of case takes them."""

from tests.cases.tolerances.shifted_answers import Shift

STEPS = {
    "parameters at the start": Shift("run.parameters"),
    "parameters brought to the host": Shift("run.parameters"),
    "malformed answers of training": Shift("run.losses", "shape"),
    "steps of inference": Shift("run.inference_steps"),
    "parameters after a step": Shift("rate", "scale"),
    "gradient norms": Shift("run.gradient_norms"),
    "parameter norms": Shift("run.parameter_norms"),
    "loss of a step": Shift("run.losses"),
    "energy of a step": Shift("run.energies"),
    "residual of inference": Shift("run.residuals"),
    "steps recorded in one run": Shift("run.recorded"),
    "loss of the model that training left": Shift("loss"),
}


def of_one_learner(learner, judge, trainer, run):
    """Return what is read where one learner is held against itself, and no call before it counts.

    Parameters
    ----------
    learner
        As the names of checks have it.
    judge
        How many learners' steps have been compared before; each predicts before and after.
    trainer, run
        How many trainers have begun, and how many runs been made, before the one whose steps are
        taken in one run.
    """
    return {
        f"steps taken in one run ({learner})": Shift("rate", "scale", after=trainer),
        f"what one run records ({learner})": Shift("run.losses", "last", after=run, by=1e-14),
        f"model that training began with ({learner})": Shift("predict", after=2 * judge + 1),
    }
