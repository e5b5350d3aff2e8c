"""The Hessian during inference: through the steps that were taken."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from pcbench.backends.torch.engines.relaxation import Relaxation
from pcbench.backends.torch.hessians.objective import ObjectiveHessian
from pcbench.backends.torch.layer import Layer
from pcbench.contract.model import BackendUnavailableError


class UnrolledHessian(ObjectiveHessian):
    """Hessian of the energy after ``steps`` steps ``z ← z - step · ∂(N𝓕)/∂z``.

    Raises
    ------
    BackendUnavailableError
        If the parameters have replicas.
    """

    def __init__(
        self, layers: Sequence[Layer], x: Tensor, y: Tensor, steps: int, step: float
    ) -> None:
        if layers[0].affine.replicas:
            raise BackendUnavailableError("Hessians through steps of inference take no replicas")

        def reached(layers: list[Layer]) -> Tensor:
            view = Relaxation(layers, x, y, None).feedforward()
            for _ in range(steps):
                hidden = zip(view.activities[1:], view.slopes(), strict=True)
                view = view.relaxation.at([z - step * slope for z, slope in hidden])
            return view.sample_energies().mean()

        super().__init__(layers, x, reached)
