"""What the checks of the kinds read in which learners leave saddles."""

from tests.cases.tolerances.shifted_answers import Shift
from tests.cases.tolerances.training import STEPS, of_one_learner

ORIGIN = {
    "data": {"name": "toy_gaussian", "dimension": 2, "samples": 16},
    "network": {
        "hidden_layers": 2,
        "width": 4,
        "initialisation": {"name": "near_origin", "std": 0.01},
    },
    "seeds": 5,
    "training": {"learning_rate": 0.2, "batch": 8, "steps": 400, "look": 5, "every": 5},
    "escape": {"fraction": 0.5, "window": 5},
    "judged": 2,
}
COMPLETION = {
    "data": {"name": "low_rank_matrix", "samples": 6, "columns": 6, "rank": 2},
    "network": {
        "hidden_layers": 3,
        "width": 20,
        "initialisation": {"name": "near_origin", "std": 0.05},
    },
    "training": {"learning_rate": 0.02, "steps": 1500, "look": 20},
    "escape": {"steps": 1000},
    "draws": 12,
}
PROBLEMS = {
    # Where a step of training is wrong, no claim is judged.
    "leaving the origin unjudged": ("origin_escape", {**ORIGIN, "judged": 0}),
    "leaving the origin": ("origin_escape", ORIGIN),
    "completion": ("matrix_completion", COMPLETION),
    "completion of what is observed": (
        "matrix_completion",
        {**COMPLETION, "data": {**COMPLETION["data"], "observed": 1}},
    ),
}
READ = {
    "leaving the origin unjudged": {
        "steps to escape, PC/BP (matched scaling)": Shift(
            "rate", "scale", after=1, calls=1, by=-0.8212
        ),
        "gradient of BP where it starts, times that of PC": Shift(
            "run.gradient_norms", "scale", calls=1, by=1.0
        ),
    },
    "leaving the origin": {
        **STEPS,
        # Runs are numbered as they are made: two of both learners' first steps, then one a look.
        "malformed answers of training (BP, matched scaling)": Shift(
            "run.losses", "shape", calls=1
        ),
        "malformed answers of training (PC, matched scaling)": Shift(
            "run.losses", "shape", after=3, calls=1
        ),
        "malformed answers of training (BP, matched scaling, step 6)": Shift(
            "run.losses", "shape", after=51, calls=1
        ),
        "malformed answers of training (PC, matched scaling, step 6)": Shift(
            "run.losses", "shape", after=55, calls=1
        ),
        **of_one_learner("BP, matched scaling", judge=0, trainer=1, run=1),
        **of_one_learner("PC, matched scaling", judge=1, trainer=3, run=4),
        **of_one_learner("BP, matched scaling, step 6", judge=2, trainer=9, run=52),
        **of_one_learner("PC, matched scaling, step 6", judge=3, trainer=13, run=56),
        "parameters of replicas kept (BP, matched scaling)": Shift("run.parameters", after=4),
        "parameters of replicas kept (PC, matched scaling)": Shift("run.parameters", after=11),
        "gradient norms of the first steps": Shift("run.gradient_norms"),
        "gradient norm at the start (BP)": Shift("run.gradient_norms", "scale"),
        "gradient norm at the start (PC)": Shift("run.gradient_norms", "scale", by=-0.01),
        "growth of W_L along the top eigenvector of Σ_yy (PC)": Shift("rate", "scale"),
        "loss that the run recorded": Shift("run.losses"),
        "parameters after a step of the run (BP, matched scaling, step 6)": Shift(
            "rate", "scale", after=10
        ),
        "parameters after a step of the run (PC, matched scaling, step 6)": Shift(
            "rate", "scale", after=14
        ),
    },
    "matrix_completion": {
        "loss on BP's path": Shift("run.losses"),
        "gradient norm on BP's path": Shift("run.gradient_norms"),
        "misfit at a saddle": Shift("run.losses", "scale", by=0.1),
        "objective at a saddle": Shift("run.energies"),
        "loss at a saddle": Shift("run.losses"),
        "gradient norm at a saddle": Shift("run.gradient_norms"),
        "first step from a saddle": Shift("rate", "scale"),
        # Of the trainers that have not seen what is not observed.
        "BP: trace of targets that are not observed": Shift("rate", "scale", after=3),
        "PC: trace of targets that are not observed": Shift("rate", "scale", after=6),
        # The ninth trainer is PC's, which leaves saddles; BP's begins to after 81 runs.
        "PC: steps to leave rank 0, times those of BP": Shift("rate", "scale", after=8, by=-0.58),
        "PC: steps to leave rank 1, times those of BP": Shift("rate", "scale", after=8, by=-0.41),
        "gradient of BP at saddles of rank 0, times that of PC": Shift(
            "run.gradient_norms", "scale", after=81, calls=1, by=1.0
        ),
        "gradient of BP at saddles of rank 1, times that of PC": Shift(
            "run.gradient_norms", "scale", after=81, calls=1, by=1.0
        ),
    },
}
UNREACHED = {}
SLOW = {"leaving the origin", "completion", "completion of what is observed"}
