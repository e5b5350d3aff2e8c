"""What the checks of the kinds read that ask about one network: its values, energies, Hessians."""

from tests.cases.tolerances.shifted_answers import Shift

TOY = {"name": "toy_gaussian", "dimension": 2, "samples": 4}
TWO = {"hidden_layers": 2, "width": 4}
LINE = {"hidden_layers": 1, "width": 2}
LAW = {"data": {**TOY, "dimension": 3, "samples": 16}, "training": {"max_steps": 2000}}
SADDLE = {"widths": [4, 4, 4], "initialisation": "penultimate_only"}
GRADIENT = {"engine": "gradient", "step": 0.1, "max_steps": 20000, "residual": 1e-4}
PATHS = {"starts": 1, "steps": 1, "batch": 2}
ONE_STEP = {"data": {**TOY, "samples": 16}, "network": TWO, "training": {"steps": 1, "batch": 16}}

PROBLEMS = {
    "law": ("escape_law", {**LAW, "network": TWO}),
    "law of one hidden layer": ("escape_law", {**LAW, "network": {**TWO, "hidden_layers": 1}}),
    "slice": ("landscape", {"data": TOY, "network": LINE, "points": 3, "paths": PATHS}),
    "slice of the loss": (
        "landscape",
        {"data": TOY, "network": LINE, "points": 3, "curvature_of": "loss"},
    ),
    "spectrum": (
        "hessian_spectrum",
        {
            "data": TOY,
            "network": {"widths": [3, 3], "activation": "tanh"},
            "probes": 2,
            "density_steps": 10,
        },
    ),
    "training": ("equilibrated_energy", ONE_STEP),
    "training by steps": ("equilibrated_energy", {**ONE_STEP, "inference": GRADIENT}),
    "origin": ("origin_hessian", {"data": TOY, "network": {"widths": [10]}}),
    "deep origin": ("origin_hessian", {"data": TOY, "network": {"widths": [5, 5]}}),
    "saddle": ("zero_rank_saddle", {"data": {**TOY, "dimension": 3}, "network": SADDLE}),
    "zero rank": (
        "zero_rank_saddle",
        {"data": {**TOY, "dimension": 3}, "network": {**SADDLE, "initialisation": "zero_rank"}},
    ),
    "origin by gradients": (
        "origin_curvature",
        {"data": TOY, "network": {"widths": [3, 3], "activation": "tanh"}, "directions": 1},
    ),
    "engines": (
        "inference_cost",
        {
            "data": TOY,
            "network": TWO,
            "engines": {
                "exact": {"engine": "exact"},
                "gauss-newton": {"engine": "gauss_newton"},
                "gradient": {"engine": "gradient", "step": 0.2, "max_steps": 3000},
            },
        },
    ),
    "equilibria": (
        "equilibrium",
        {
            "data": TOY,
            "network": TWO,
            "observed": 0.7,
            "engines": {
                "exact": {"engine": "exact"},
                "gauss-newton": {"engine": "gauss_newton", "residual": 1e-8},
            },
        },
    ),
    "search": (
        "critical_points",
        {"widths": [3, 2, 3], "starts": 8, "arrivals": 0.3, "iterations": 100},
    ),
}

# The same of one kind; checks that come after others are reached by calls that come after theirs.
READ = {
    "escape_law": {
        "BP: steps until the loss falls": Shift("rate", "scale", by=0.05),
        "PC: steps until the loss falls": Shift("rate", "scale", by=0.05),
        "PC: steps until the energy falls": Shift("rate", "scale", by=0.05),
        "BP: steps of the loss per e-fold of 1/σ": Shift("rate", "scale", by=0.05),
        "PC: steps of the loss per e-fold of 1/σ": Shift("rate", "scale", by=0.05),
        "PC: steps of the energy per e-fold of 1/σ": Shift("rate", "scale", by=0.05),
        "BP: power of 1/σ": Shift("rate", "tilt", by=-0.2),
        "PC: power of ln(1/σ)": Shift("rate", "tilt", by=0.05),
    },
    "landscape": {
        "inference: malformed answers": Shift("loss_gradients", "shape"),
        "Hessian of the loss: malformed answers": Shift("loss_hessian", "shape"),
        "Hessian of the energy: malformed answers": Shift("energy_hessian", "shape"),
        "slope of the loss along u": Shift("loss_gradients"),
        "slope of the loss along v": Shift("loss_gradients"),
        "slope of the energy along u": Shift("energy_gradients", "scale", by=1e-8),
        "slope of the energy along v": Shift("energy_gradients", "scale", by=1e-8),
        "curvature of the loss along u": Shift("loss_hessian", after=1),
        "curvature of the loss along v": Shift("loss_hessian", after=1),
        "mixed curvature of the loss": Shift("loss_hessian", "corner", after=1),
        "curvature of the energy along u": Shift("energy_hessian", after=4),
        "curvature of the energy along v": Shift("energy_hessian", after=4),
        "mixed curvature of the energy": Shift("energy_hessian", "corner", after=4),
        "eigenvector of the least curvature of the loss": Shift("loss_hessian", after=2),
        "eigenvector of the largest curvature of the loss": Shift("loss_hessian", after=3),
        "eigenvector of the least curvature of the energy": Shift("energy_hessian", after=2),
        "eigenvector of the largest curvature of the energy": Shift("energy_hessian", after=3),
        "steps on the loss": Shift("loss_gradients", after=6),
        "steps on the energy": Shift("energy_gradients", after=9),
    },
    "hessian_spectrum": {
        "Hessian products of the loss": Shift("loss_hessian"),
        "Hessian products of the energy": Shift("energy_hessian"),
        "symmetric Hessian of the loss": Shift("loss_hessian", "corner"),
        "symmetric Hessian of the energy": Shift("energy_hessian", "corner"),
        "extreme eigenpairs of the loss": Shift("loss_hessian", after=1),
        "extreme eigenpairs of the energy": Shift("energy_hessian", after=1),
        "least eigenvalue of the loss": Shift("loss_hessian", "scale", after=20),
        "largest eigenvalue of the loss": Shift("loss_hessian", "scale", after=20),
        "least eigenvalue of the energy": Shift("energy_hessian", "scale", after=20),
        "largest eigenvalue of the energy": Shift("energy_hessian", "scale", after=20),
        "inner systems solved": Shift("energy_hessian.residual"),
    },
    "equilibrated_energy": {
        "malformed answers": Shift("loss", "shape"),
        "energy of each layer": Shift("energies"),
        "energy ≥ loss/λ_max(S)": Shift("infer.energies", "scale", by=-0.9),
    },
    "origin_curvature": {
        "curvature times a direction": Shift("energy_gradients", "scale"),
        "curvature along the steepest direction": Shift("energy_gradients", "scale"),
        "strict saddle of the energy": Shift("energy_gradients", "scale", by=-1.0),
    },
    "equilibrium": {
        "number of gradients": Shift("energy_gradients", "drop"),
    },
    "critical_points": {
        "gradient of the energy": Shift("energy_gradients"),
        "energy of a critical point": Shift("energies"),
        "Lemma A: loss equals energy": Shift("loss"),
        "curvature along the certificate": Shift("energy_hessian", "scale"),
        "curvature along a random direction": Shift("energy_hessian", "scale"),
        "Lemma A: slope along a scaling of two layers": Shift("energy_gradients", "scale"),
        "Lemma B: predicted curvature": Shift("energy_hessian", "scale"),
        "Lemma D: predicted curvature": Shift("energy_hessian", "scale", by=-1e-9),
        "Lemma A: force of the output on a layer": Shift("infer.activities"),
    },
}

# Checks that this table cannot reach, by kind and, behind an engine's name, by what they check.
UNREACHED = {
    ("escape_law", "BP: power of 1/σ at the smallest scales"): (
        "an interval that holds the bound leaves the law open before it is on the other side: "
        "test_escape_law.py"
    ),
    ("escape_law", "PC: power of 1/σ at the smallest scales"): "likewise",
    ("hessian_spectrum", "different eigenvectors of the loss"): (
        "vectors of the judge's own iteration, not answers: test_cases_catch_hessian_faults.py"
    ),
    ("hessian_spectrum", "different eigenvectors of the energy"): "likewise",
    ("hessian_spectrum", "distribution of the loss within its band"): (
        "test_cases_catch_hessian_faults.py"
    ),
    ("hessian_spectrum", "distribution of the energy within its band"): (
        "test_cases_catch_hessian_faults.py"
    ),
    ("equilibrated_energy", "residual within the budget"): (
        "its bound is held to one rounding, and activities cannot be wrong by so little: "
        "test_cases_catch_faults.py"
    ),
    ("inference_cost", "residual within the budget"): "likewise: test_cases_catch_engine_faults.py",
    ("inference_cost", "activities"): (
        "made only where both engines have passed by themselves: test_agreement.py"
    ),
    ("inference_cost", "energy"): "likewise",
    ("equilibrium", "activities"): "likewise",
    ("equilibrium", "energy"): "likewise",
    ("equilibrium", "rise of the energy of a sample"): (
        "made only where all else has passed: test_cases_catch_engine_faults.py"
    ),
    ("equilibrium", "weight gradients along a direction"): "test_cases_catch_engine_faults.py",
    (
        "critical_points",
        "share of starts that arrive",
    ): "test_critical_points.py",
    ("critical_points", "candidates for non-strict saddles"): "test_critical_points.py",
}
SLOW = {"law", "slice", "slice of the loss", "spectrum", "search", "engines"}
