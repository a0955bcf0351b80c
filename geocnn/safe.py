"""norm, normalise and atan2 have finite derivatives everywhere; at zero, value and derivatives are zero.

These are the only NaN-safe primitives of geocnn. All divide by the largest component first, as a constant:
the result does not depend on it, so derivatives of every order stay right, and squares neither underflow nor
overflow. A vector whose components all lie below the dtype's smallest normal number counts as zero.
"""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor


def normalise(x: Float[Tensor, "*shape"], dim: int = -1) -> Float[Tensor, "*shape"]:
    """Return x / |x| along `dim`; zero, with derivative zero, where x is zero.

    >>> normalise(torch.tensor([[3.0, 4.0], [0.0, 0.0]]))
    tensor([[0.6000, 0.8000],
            [0.0000, 0.0000]])
    """
    size, is_zero = _scale(x.detach().abs().amax(dim, keepdim=True))
    # masked twice: before the root, so that its derivative is finite, and after it, so that zero stays zero
    scaled = (x / size).masked_fill(is_zero, 1)
    unit = scaled / scaled.square().sum(dim, keepdim=True).sqrt()
    return unit.masked_fill(is_zero, 0)


def norm(x: Float[Tensor, "*shape"], dim: int = -1) -> Float[Tensor, "*rest"]:
    """Return |x| along `dim`, which is dropped; its derivative is x / |x|, zero where x is zero.

    >>> norm(torch.tensor([[3.0, 4.0], [0.0, 0.0]]))
    tensor([5., 0.])
    """
    # |x| = <x, x/|x|>: the derivative of the second factor is orthogonal to x and drops out
    return (x * normalise(x, dim)).sum(dim)


def atan2(y: Float[Tensor, "*#shape"], x: Float[Tensor, "*#shape"]) -> Float[Tensor, "*shape"]:
    """Return the angle of x + iy in [-π, π]; y and x broadcast. Value and derivative are zero at zero.

    >>> atan2(torch.tensor([1.0, 0.0]), torch.tensor([1.0, 0.0]))
    tensor([0.7854, 0.0000])
    """
    size, is_zero = _scale(torch.maximum(y.detach().abs(), x.detach().abs()))
    return torch.atan2((y / size).masked_fill(is_zero, 0), (x / size).masked_fill(is_zero, 1))


def _scale(largest: Float[Tensor, "*shape"]) -> tuple[Float[Tensor, "*shape"], Bool[Tensor, "*shape"]]:
    """Return a divisor that is never zero, and where it replaces a zero."""
    is_zero = largest < torch.finfo(largest.dtype).tiny
    return largest.masked_fill(is_zero, 1), is_zero
