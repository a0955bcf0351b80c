"""Photographs anyone may use: those of scikit-image that are in the public domain or CC0.

    astronaut   NASA, public domain            chelsea   S. van der Walt, CC0
    camera      L. Varshney, CC0               rocket    SpaceX, public domain
    coffee      R. Michetti, CC0               gravel    CC0Textures, CC0
    brick       CC0Textures, CC0
    grass       linolafett, CC0

They come with that package, so nothing is downloaded; its docstrings name the sources. Networks learn from
the left column and are tested on the right one.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from geocnn.errors import DatasetError

SPLITS = {
    "train": ("astronaut", "camera", "coffee", "brick", "grass"),
    "test": ("chelsea", "rocket", "gravel"),
}


def photographs(split: str, shrink: int = 1) -> list[Tensor]:
    """The photographs of a split, grey, 0 to 1, float32 [rows, columns]; a pixel is the mean of shrink².

    Raises DatasetError for an unknown split, and where scikit-image is missing.

    >>> [list(image.shape) for image in photographs("test", shrink=4)]
    [[75, 112], [106, 160], [128, 128]]
    """
    if split not in SPLITS:
        raise DatasetError(f"there is no split '{split}'; choose one of {', '.join(SPLITS)}")
    try:
        from skimage import data
    except ImportError as error:
        raise DatasetError("the photographs need scikit-image: pip install 'geocnn[photographs]'") from error
    images = [torch.from_numpy(getattr(data, name)()).to(torch.float32) / 255 for name in SPLITS[split]]
    grey = [image if image.ndim == 2 else image.mean(-1) for image in images]
    return [F.avg_pool2d(image[None], shrink)[0] for image in grey]


def cut(images: list[Tensor], n: int, side: int) -> Tensor:
    """n squares [n, side, side] at random places of random images, by torch's generator.

    Raises DatasetError if an image is smaller.

    >>> cut([torch.rand(20, 30), torch.rand(40, 20)], 5, 16).shape
    torch.Size([5, 16, 16])
    """
    smallest = min(min(image.shape) for image in images)
    if smallest < side:
        raise DatasetError(f"a square of {side} pixels cannot be cut from an image of {smallest}")
    found = []
    for k in torch.randint(len(images), (n,)).tolist():
        row, column = (int(torch.randint(size - side + 1, ())) for size in images[k].shape)
        found.append(images[k][row : row + side, column : column + side])
    return torch.stack(found)
