"""Reading rows of a tensor, which advanced indexing does two to four times as slowly on a processor."""

from __future__ import annotations

from jaxtyping import Int64, Shaped
from torch import Tensor


def read(x: Shaped[Tensor, "n ..."], index: Int64[Tensor, "*k"]) -> Shaped[Tensor, "*k ..."]:
    """Return x[index] for indices that are not negative.

    >>> import torch
    >>> read(torch.tensor([5, 6, 7]), torch.tensor([[2, 0], [1, 1]])).tolist()
    [[7, 5], [6, 6]]
    """
    return x.index_select(0, index.reshape(-1)).view(*index.shape, *x.shape[1:])
