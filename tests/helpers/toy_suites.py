"""Small suites on toy data, one case for each thing that can become of a case."""

from pcbench.suite import load_suites, outlines

ENERGY = (
    "{id: energy, kind: equilibrated_energy, data: {name: toy_gaussian, samples: 8}, "
    "network: {hidden_layers: 2, width: 4}, training: {steps: 2, batch: 4}}"
)
ORIGIN = (
    "{id: origin, kind: origin_hessian, data: {name: toy_gaussian, samples: 8}, "
    "network: {widths: [2, 2]}}"
)
SIZED = (
    '{id: sized, figure: "5", kind: origin_hessian, data: {name: toy_gaussian, samples: 8}, '
    "network: {widths: [2]}, matrix: {network.widths: [[2], [3]]}, "
    "sizes: {full: {data.samples: 16, matrix: {network.widths: [[2], [4, 4]]}}}}"
)
# One step of inference cannot come near the residual that is asked for.
UNFINISHED = (
    "{id: unfinished, kind: equilibrated_energy, data: {name: toy_gaussian, samples: 8}, "
    "network: {hidden_layers: 2, width: 4}, training: {steps: 0, batch: 4}, "
    "inference: {engine: gradient, max_steps: 1, residual: 1e-6}}"
)
ON_MNIST = "{id: on-mnist, kind: origin_hessian, data: mnist, network: {widths: [2]}}"
ON_CIFAR10 = "{id: on-cifar10, kind: origin_hessian, data: cifar10, network: {widths: [2]}}"


def write_suite(path, *cases, name="toy"):
    """Write a suite of cases and return its path."""
    lines = [f"suite: {name}", "cases:", *(f"  - {case}" for case in cases)]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def load_suite(suite, **options):
    """Load one suite."""
    return load_suites([suite], **options)[0]


def outline(suite, **options):
    """Outline one suite."""
    return outlines([suite], **options)[0]
