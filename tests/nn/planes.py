"""Images on an empty canvas, and what their shifts do to a network."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

F64 = torch.float64


def randn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, dtype=F64, generator=torch.Generator().manual_seed(seed))


def on_canvas(content: Tensor, shape: tuple[int, int], background: Tensor | float = 0.0) -> Tensor:
    """Content [C, h, w] at every place it fits on a canvas: [places, C, *shape], places row by row."""
    h, w = content.shape[-2:]
    found = []
    for i in range(shape[0] - h + 1):
        for j in range(shape[1] - w + 1):
            value = torch.as_tensor(background, dtype=content.dtype).view(-1, 1, 1)
            image = value.expand(len(content), *shape).clone()
            image[:, i : i + h, j : j + w] = content
            found.append(image)
    return torch.stack(found)


def spread(network: Callable[[Tensor], Tensor], images: Tensor) -> float:
    """How far the answers to the images lie apart, relative to the first."""
    with torch.no_grad():
        y = network(images).flatten(1)
    return float((y - y[0]).norm(dim=1).max() / y[0].norm())
