"""Handwritten digits on the HEALPix sphere, each on one hemisphere: upright (NR) or rotated at random (R).

A stereographic projection from the antipode takes the image onto the hemisphere around n0 = +x (on the
equator, longitude 0); image up is north. A point at angular distance t from n0 lies 14 tan(t / 2) image
pixels from the image's centre, so the hemisphere's rim is the circle of 14 pixels; the corners of the image,
which are always empty, are lost. A point (x, y, z) has the image coordinates

    column = 13.5 + 14 y / (1 + x)        row = 13.5 - 14 z / (1 + x)        (pixel centres at whole numbers)

The image is interpolated bilinearly there. Values outside the image and on the other hemisphere are zero.
Seen from *outside* the sphere with north up, east (+y) is on the right, so digits read as on paper.

A rotated digit is the upright one moved by R: its value at p is the image at R^-1 p, computed from the image
itself (no map is ever resampled). The pixel grid is HEALPix in ring order.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import torch
from jaxtyping import Float, Float32, Float64, Num
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
"""Standard deviation of the same values."""

SPLITS = {"train": ("train", 0, 55_000), "val": ("train", 55_000, 60_000), "test": ("t10k", 0, 10_000)}
"""Name: (prefix of the idx files, first digit, last + 1). Validation is the end of the training file."""


def project(
    images: Float[Tensor, "b h w"],
    points: Float[Tensor, "n 3"],
    rotations: Float[Tensor, "b 3 3"] | None = None,
    stretches: Float[Tensor, "b 2 2"] | None = None,
) -> Float[Tensor, "b n"]:
    """Project images onto the sphere and return their values at points (the module states the geometry).

    Args:
        images: any values.
        points: unit vectors.
        rotations: R moves the picture: the value at p is the image at R^-1 p. None leaves all upright.
        stretches: linear maps of the image's (column, row) about its centre; None leaves images as they are.

    >>> image = torch.zeros(1, 28, 28); image[0, 13:15, 13:15] = 1.0
    >>> project(image, torch.tensor([[1.0, 0.0, 0.0], [-1.0, 0.0, 0.0]])).tolist()
    [[1.0, 0.0]]
    """
    if rotations is None and stretches is None:
        # all images share one grid, so they become channels, and only the near hemisphere is computed
        near = (points[:, 0] > 0).nonzero().squeeze(1)
        values = images.new_zeros(len(images), len(points))
        values[:, near] = _sample(images.unsqueeze(0), points[near].unsqueeze(0)).squeeze(0)
        return values
    # for row vectors, p^T R = (R^-1 p)^T
    sources = points.expand(len(images), -1, -1) if rotations is None else points @ rotations
    values = _sample(images.unsqueeze(1), sources, stretches).squeeze(1)
    return values.masked_fill_(sources[..., 0] <= 0, 0.0)


def _sample(
    images: Float[Tensor, "b c h w"],
    points: Float[Tensor, "b n 3"],
    stretches: Float[Tensor, "b 2 2"] | None = None,
) -> Float[Tensor, "b c n"]:
    """Return images' values at points, which are meaningless on the far hemisphere."""
    x, y, z = points.unbind(-1)
    # with align_corners=False, grid_sample's unit is half the image, measured from its centre: 14 pixels
    grid = torch.stack([y, -z], dim=-1) / (1 + x.clamp(min=0)).unsqueeze(-1)
    if stretches is not None:
        grid = grid @ torch.linalg.inv(stretches).mT
    return F.grid_sample(
        images, grid.unsqueeze(1).to(images.dtype), mode="bilinear", padding_mode="zeros", align_corners=False
    ).squeeze(2)


class SphericalDigits(Dataset[tuple[Tensor, Tensor]]):
    """MNIST on the sphere; whole batches are projected when they are fetched.

    Args:
        split: "train" (55,000), "val" (5,000) or "test" (10,000).
        rotated: False gives upright digits (NR), True moves each by its own Haar rotation (R).
        nside: HEALPix resolution, 12 nside^2 pixels.
        seed: random seed; a rotation depends only on seed, split and the digit's index.
        size: use only the first `size` digits; None uses all.
        stretch: every time a digit is fetched, it is stretched or compressed along random directions, without
            a turn, by exp(S), where S is symmetric and random (torch's generator) with this deviation on the
            diagonal.

    Attributes:
        images: [n, 28, 28] uint8.
        labels: [n] int64.
        rotations: [n, 3, 3] float64, or None where upright.

    An item is `(x, y)`: x float32 [npix, 1], (map - MEAN) / STD; y int64. `maps` and `__getitems__` take many
    indices.

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
            raise DatasetError(f"stretch is a deviation of logarithms, from 0 to below 1, got {stretch}")
        self.nside, self.stretch = nside, stretch
        self.images, self.labels = images[:size], labels[:size]
        self.rotations = _rotations(split, seed, len(images))[:size] if rotated else None
        self._points = pixel_to_vector(nside, torch.arange(npix(nside)))

    def __len__(self) -> int:
        return len(self.images)

    def maps(self, index: Sequence[int] | Tensor) -> Float32[Tensor, "b npix"]:
        """Return maps in 0..1, in ring order, not normalised, for indices [b]."""
        numbers = torch.as_tensor(index, dtype=torch.int64)
        images = self.images[numbers].to(torch.float32) / 255
        # float32 places a point to 1e-6 image pixels, and the data are bytes
        points = self._points.to(torch.float32)
        rotations = None if self.rotations is None else self.rotations[numbers].to(torch.float32)
        return project(images, points, rotations, self._stretches(len(images)))

    def _stretches(self, n: int) -> Float32[Tensor, "{n} 2 2"] | None:
        """Draw stretches from an isotropic distribution: it does not change when the image is turned."""
        if not self.stretch:
            return None
        s = torch.randn(n, 2, 2)
        return torch.linalg.matrix_exp(self.stretch * (s + s.mT) / 2)

    def __getitems__(self, index: Sequence[int]) -> tuple[Tensor, Tensor]:
        return digit_features(self.maps(index)), self.labels[torch.as_tensor(index, dtype=torch.int64)]

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        x, y = self.__getitems__([index])
        return x[0], y[0]


def digit_features(maps: Num[Tensor, "b npix"]) -> Float32[Tensor, "b npix 1"]:
    """Return the networks' input for maps in 0..1: (map - MEAN) / STD.

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


def _rotations(split: str, seed: int, n: int) -> Float64[Tensor, "{n} 3 3"]:
    """Draw one rotation per digit of the whole split, so that `size` never changes a digit's rotation."""
    stream = seed * len(SPLITS) + list(SPLITS).index(split)
    return random_rotations(n, torch.Generator().manual_seed(stream))
