"""Handwritten digits on the HEALPix sphere, each laid on one hemisphere: upright (NR) or at random (R).

The geometry. The image is projected stereographically from the antipode onto the hemisphere around n0 = +x
(on the equator, longitude 0), image up = north. A point at angular distance t from n0 lies 14 tan(t / 2)
image pixels from the image's centre, so the hemisphere's rim is the circle of 14 pixels; the corners of the
image, always empty, are cut off. With a point's coordinates (x, y, z) that is

    column = 13.5 + 14 y / (1 + x)        row = 13.5 - 14 z / (1 + x)        (pixel centres at whole numbers)

read bilinearly, zero outside the image, zero on the other hemisphere. Seen from *outside* the sphere with
north up, east (+y) is on the right, so digits read as on paper.

A rotated digit is the upright one moved by R: its value at p is the image at R^-1 p, computed from the image
itself (no map is ever resampled). The pixel grid is HEALPix in ring order.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils.data import Dataset

from geocnn.data.store import dataset_file, read_idx
from geocnn.errors import DatasetError
from geocnn.geometry.spheres.pixels import npix, pixel_to_vector
from geocnn.groups.rotations import random_rotations
from geocnn.lasting import lasting

MEAN = 0.1133
"""Mean pixel value of the 55,000 upright training maps at nside 16, before normalisation."""
STD = 0.2745
"""Standard deviation of the same."""

SPLITS = {"train": ("train", 0, 55_000), "val": ("train", 55_000, 60_000), "test": ("t10k", 0, 10_000)}
"""Name: (prefix of the idx files, first digit, last + 1). Validation is the end of the training file."""


def project(
    images: Tensor, points: Tensor, rotations: Tensor | None = None, stretches: Tensor | None = None
) -> Tensor:
    """Images laid on the sphere, read at points (the module's docstring states the geometry).

    Args:
        images: [B, H, W] float, any values.
        points: [N, 3] unit vectors.
        rotations: [B, 3, 3], R moves the picture: the value at p is the image at R^-1 p.
            None leaves all upright.
        stretches: [B, 2, 2] in the image's (column, row), about its centre; None leaves all as they are.

    Returns:
        [B, N] of the images' dtype.

    >>> image = torch.zeros(1, 28, 28); image[0, 13:15, 13:15] = 1.0
    >>> project(image, torch.tensor([[1.0, 0.0, 0.0], [-1.0, 0.0, 0.0]])).tolist()
    [[1.0, 0.0]]
    """
    if rotations is None and stretches is None:
        # One grid for all: the images become channels and only the near hemisphere is read.
        near = (points[:, 0] > 0).nonzero().squeeze(1)
        values = images.new_zeros(len(images), len(points))
        values[:, near] = _sample(images.unsqueeze(0), points[near].unsqueeze(0)).squeeze(0)
        return values
    # Row vectors: p^T R = (R^-1 p)^T.
    seen = points.expand(len(images), -1, -1) if rotations is None else points @ rotations
    values = _sample(images.unsqueeze(1), seen, stretches).squeeze(1)
    return values.masked_fill_(seen[..., 0] <= 0, 0.0)


def _sample(images: Tensor, points: Tensor, stretches: Tensor | None = None) -> Tensor:
    """Images [A, C, H, W] at points [A, N, 3] -> [A, C, N], meaningless on the far hemisphere."""
    x, y, z = points.unbind(-1)
    # With align_corners=False, grid_sample's unit is half the image, measured from its centre: 14 pixels for
    # MNIST.
    grid = torch.stack([y, -z], dim=-1) / (1 + x.clamp(min=0)).unsqueeze(-1)
    if stretches is not None:
        grid = grid @ torch.linalg.inv(stretches).mT
    return F.grid_sample(
        images, grid.unsqueeze(1).to(images.dtype), mode="bilinear", padding_mode="zeros", align_corners=False
    ).squeeze(2)


class SphericalDigits(Dataset[tuple[Tensor, Tensor]]):
    """MNIST on the sphere, projected when asked for, whole batches at once.

    Args:
        split: "train" (55,000), "val" (5,000) or "test" (10,000).
        rotated: False gives upright digits (NR), True moves each by its own Haar rotation (R).
        nside: HEALPix resolution, 12 nside^2 pixels.
        seed: the rotations are a function of seed, split and the digit's index alone.
        size: use only the first `size` digits; None uses all.
        stretch: of each digit, whenever it is fetched, by exp(S), S symmetric and random (torch's generator)
            with this deviation on the diagonal. It is drawn out or pressed, along any direction, not turned.

    Attributes:
        images: [n, 28, 28] uint8.
        labels: [n] int64.
        rotations: [n, 3, 3] float64, or None where upright.

    An item is `(x, y)`: x float32 [npix, 1], the map minus MEAN over STD; y int64. `maps` and `__getitems__`
    take many.

    Raises:
        DatasetError: unknown split, a size the split does not have, a negative stretch, or damaged files.

    >>> digits = SphericalDigits("test", rotated=True, nside=4, size=8)
    >>> x, y = digits.__getitems__([0, 5])
    >>> x.shape, y.tolist()
    (torch.Size([2, 192, 1]), [7, 1])
    """

    def __init__(
        self,
        split: str,
        rotated: bool,
        nside: int = 16,
        seed: int = 0,
        size: int | None = None,
        stretch: float = 0.0,
    ) -> None:
        images, labels = _load(split)
        size = len(images) if size is None else size
        if not 1 <= size <= len(images):
            raise DatasetError(
                f"the split '{split}' has {len(images)} digits; {size} cannot be taken from it"
            )
        if not 0 <= stretch < 1:
            raise DatasetError(f"stretch is a deviation of logarithms, 0 to 1, got {stretch}")
        self.nside, self.stretch = nside, stretch
        self.images, self.labels = images[:size], labels[:size]
        self.rotations = _rotations(split, seed, len(images))[:size] if rotated else None
        self._points = pixel_to_vector(nside, torch.arange(npix(nside)))

    def __len__(self) -> int:
        return len(self.images)

    def maps(self, index: Sequence[int] | Tensor) -> Tensor:
        """Maps [B, npix] float32 in 0..1, ring order, not normalised."""
        chosen = torch.as_tensor(index, dtype=torch.int64)
        images = self.images[chosen].to(torch.float32) / 255
        # float32 places a point to 1e-6 image pixels; the data are bytes.
        points = self._points.to(torch.float32)
        rotations = None if self.rotations is None else self.rotations[chosen].to(torch.float32)
        return project(images, points, rotations, self._stretches(len(images)))

    def _stretches(self, n: int) -> Tensor | None:
        """[n, 2, 2] random ones; isotropic: turned, they are as likely as before."""
        if not self.stretch:
            return None
        s = torch.randn(n, 2, 2)
        return torch.linalg.matrix_exp(self.stretch * (s + s.mT) / 2)

    def __getitems__(self, index: Sequence[int]) -> tuple[Tensor, Tensor]:
        return digit_features(self.maps(index)), self.labels[torch.as_tensor(index, dtype=torch.int64)]

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        x, y = self.__getitems__([index])
        return x[0], y[0]


def digit_features(maps: Tensor) -> Tensor:
    """Maps [B, npix] in 0..1 to features [B, npix, 1] float32, as the networks are trained on.

    >>> digit_features(torch.full((1, 12), MEAN)).abs().max().item()
    0.0
    """
    return ((maps.to(torch.float32) - MEAN) / STD).unsqueeze(-1)


@cache
@lasting()
def _load(split: str) -> tuple[Tensor, Tensor]:
    if split not in SPLITS:
        raise DatasetError(f"there is no split '{split}'; choose one of {', '.join(SPLITS)}")
    prefix, first, end = SPLITS[split]
    images = read_idx(dataset_file("mnist", f"{prefix}-images-idx3-ubyte.gz"))
    labels = read_idx(dataset_file("mnist", f"{prefix}-labels-idx1-ubyte.gz"))
    return images[first:end].clone(), labels[first:end].to(torch.int64)


def _rotations(split: str, seed: int, n: int) -> Tensor:
    """One rotation per digit of the whole split, so that `size` never changes a digit's rotation."""
    stream = seed * len(SPLITS) + list(SPLITS).index(split)
    return random_rotations(n, torch.Generator().manual_seed(stream))
