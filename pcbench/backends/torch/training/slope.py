"""What a step of training begins with: an objective's value and its gradients."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor
from torch.linalg import vector_norm


@dataclass(frozen=True, slots=True)
class Product:
    """A gradient of low rank, ``leftᵀ right``, kept as its factors.

    Where ``k`` is small, adding the product to a weight is one pass over the weight, and the
    gradient itself is never stored.
    """

    left: Float[Tensor, "*R k d_out"]
    right: Float[Tensor, "*R k d_in"]

    def dense(self) -> Float[Tensor, "*R d_out d_in"]:
        """Multiply out."""
        return self.left.mT @ self.right

    def norm(self) -> Float[Tensor, "*R"]:
        """Frobenius norm, of the product multiplied out.

        ``tr((left leftᵀ)(right rightᵀ))`` is its square and takes less, but where factors are large
        and their product is small, at a plateau, it loses half the digits.
        """
        size: Tensor = vector_norm(self.dense().flatten(-2), dim=-1)
        return size

    def subtract_from(self, weight: Float[Tensor, "*R d_out d_in"], rate: Tensor) -> None:
        """``weight ← weight - rate · leftᵀ right``, in place."""
        left = (self.left * aligned(rate, self.left)).mT
        if weight.dim() == 2:
            weight.addmm_(left, self.right, alpha=-1)
        else:
            weight.baddbmm_(left, self.right, alpha=-1)


Gradient = Tensor | Product


@dataclass(frozen=True, slots=True)
class Slope:
    """An objective at the current parameters, on a batch.

    Attributes
    ----------
    loss
        ``𝓛``.
    energy
        The energy that inference reached; of backpropagation the loss.
    gradients
        Of weights, then of biases.
    inference_steps
        That inference took; 0 of a closed form.
    """

    loss: Float[Tensor, "*R"]
    energy: Float[Tensor, "*R"]
    gradients: Sequence[Gradient]
    inference_steps: int = 0


def dense(gradient: Gradient) -> Tensor:
    """Return the gradient as a tensor in its parameter's shape."""
    return gradient.dense() if isinstance(gradient, Product) else gradient


def norm(array: Gradient, replicas: int) -> Float[Tensor, "*R"]:
    """Frobenius norm of a gradient or a parameter, with so many axes of replicas."""
    if isinstance(array, Product):
        return array.norm()
    size: Tensor = vector_norm(array.flatten(replicas), dim=-1)
    return size


def aligned(rate: Float[Tensor, "*R"], array: Tensor) -> Tensor:
    """Give a number of each replica the axes of an array behind it."""
    return rate.reshape(*rate.shape, *(1,) * (array.dim() - rate.dim()))
