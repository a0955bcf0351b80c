"""The matrices by which moments are multiplied, from a layer's weights.

A run of moments has weights [parts, K, copies], K = moments · rings · C. Two parts a + ib act on a target
irrep as complex numbers. The matrix of a run multiplies its moments as `ops.blocks` forms them:

    real moments [components, K]    rows (a, b), then rows (−b, a); of one part the rows a
    complex moments [K, 2]          rows (a, b) and ±(−b, a) in turns, minus where a moment is conjugated;
                                    of one part, whose moments are real and imaginary parts, rows a in turns
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import torch
from torch import Tensor

from geocnn.groups.irrep import Irrep
from geocnn.lasting import lasting
from geocnn.ops.moments import MomentBasis


class Mixing:
    """How the weights of one run stand in its matrix.

    `conjugate` gives the matrix of conjugate complex moments.
    """

    def __init__(self, basis: MomentBasis | None, source: Irrep, target: Irrep, is_complex: bool):
        self.is_complex, self.signs = is_complex, ()
        if basis is not None:
            # a matrix ((1, 0), (0, −1)) conjugates
            self.signs = tuple(m.matrix[-1][-1] for m in basis.of(source, target))

    def matrix(self, weight: Tensor, conjugate: bool = False) -> Tensor:
        """Return the matrix of weights [parts, K, copies]."""
        if len(weight) == 1:
            if not self.is_complex:
                return weight[0]
            pairs = weight[0].unflatten(0, (len(self.signs) // 2, 2, -1)).transpose(1, 2)
            return (pairs * _last_negative(weight) if conjugate else pairs).flatten(0, 2)
        a, b = weight
        real, imaginary = torch.cat([a, b], 1), torch.cat([-b, a], 1)
        if not self.is_complex:
            return torch.cat([real, imaginary])
        return torch.stack([real, imaginary * self._sign(weight, conjugate)], 1).flatten(0, 1)

    def weight(self, matrix: Tensor, parts: int) -> Tensor:
        """Return the transpose of `matrix`: the derivative by the weights, from that by the matrix."""
        if parts == 1:
            if not self.is_complex:
                return matrix[None]
            return matrix.unflatten(0, (len(self.signs) // 2, -1, 2)).transpose(1, 2).flatten(0, 2)[None]
        if self.is_complex:
            real, imaginary = matrix.unflatten(0, (-1, 2)).unbind(1)
            imaginary = imaginary * self._sign(matrix, False)
        else:
            real, imaginary = matrix.unflatten(0, (2, -1))
        n = matrix.shape[1] // 2
        return torch.stack([real[:, :n] + imaginary[:, n:], real[:, n:] - imaginary[:, :n]])

    def _sign(self, like: Tensor, conjugate: bool) -> Tensor:
        """Return ±1 for each of K imaginary parts, [K, 1]."""
        count = (like.shape[1] if like.ndim == 3 else like.shape[0] // 2) // len(self.signs)
        signs = tuple(-s for s in self.signs) if conjugate else self.signs
        return _signs(signs, count, like.dtype, like.device)


def _last_negative(like: Tensor) -> Tensor:
    return _signs((1, -1), 1, like.dtype, like.device)


@lru_cache(256)
@lasting()
def _signs(signs: Sequence[float], count: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    return torch.tensor(signs, dtype=dtype, device=device).repeat_interleave(count)[:, None]
