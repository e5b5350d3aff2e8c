"""The engine of CONTRIBUTING.md, in a backend that offers it, and mistakes in it."""

from dataclasses import replace

from tests.helpers.recipes import recipe

RECIPE = recipe("Add an engine of inference")
MomentumInference = RECIPE["MomentumInference"]
infer_by_momentum = RECIPE["infer_by_momentum"]


def offering(infer, name):
    """Return the backend with this function for the engine, and with replicas and training."""
    backend, model = RECIPE["MomentumBackend"], RECIPE["MomentumModel"]
    engines = {**model.engines, MomentumInference: infer}
    body = {
        "name": name,
        "capabilities": backend.capabilities | {"replicas", "training"},
        "model": type("Mistaken", (model,), {"engines": engines}),
    }
    return type(name, (backend,), body)


def uphill(clamped, settings):
    """Takes the slope with the wrong sign."""
    settings = settings.model_copy(update={"max_steps": min(settings.max_steps, 3)})
    back = settings.model_copy(update={"step": -settings.step})
    return infer_by_momentum(clamped, back)


def always_arrived(clamped, settings):
    """Says that it has converged wherever it ends."""
    return replace(infer_by_momentum(clamped, settings), converged=True)


def beyond_its_budget(clamped, settings):
    """Takes a step more than it may."""
    more = settings.model_copy(update={"max_steps": settings.max_steps + 1})
    return infer_by_momentum(clamped, more)


def of_half_the_budget(clamped, settings):
    """Stops half way, and says so."""
    less = settings.model_copy(update={"max_steps": (settings.max_steps + 1) // 2})
    return infer_by_momentum(clamped, less)


def without_a_record(clamped, settings):
    """Records nothing."""
    return replace(infer_by_momentum(clamped, settings), path=None)


def smaller_residual(clamped, settings):
    """Says half of the residual that is left."""
    answer = infer_by_momentum(clamped, settings)
    return replace(answer, residual=answer.residual / 2)


MISTAKES = {
    infer.__name__: infer
    for infer in (
        uphill,
        always_arrived,
        beyond_its_budget,
        of_half_the_budget,
        without_a_record,
        smaller_residual,
    )
}
