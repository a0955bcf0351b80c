"""Features on a small product grid and their coefficients, by dense matrix products over the whole batch.

Where rings are short, a Fourier transform is a matrix product too, and most of the time goes into memory
access rather than arithmetic. Here features are node-major in memory, with the batch innermost, and every
step is one product on long contiguous rows: two to three times as fast as `fields` where rings have some 10
to 50 samples.

Coefficients are those of D real functions in the order of the type's channels: an irrep of frequency 0 is
one function, and the two components of a frequency n > 0 become the field's gradient and curl parts E and B
(`coefficients`), a = -(E + iB). A rotation mixes orders of one degree and never functions, so the maps that
commute with it are real matrices between functions, one matrix per degree.

Let F be Fourier coefficients along rings and h the harmonics of spin s. A field Q + iU of spin s has

    E = -sum (W F(Q) + i X F(U))      B = sum (i X F(Q) - W F(U))      W, X = (h^s +- (-1)^s h^{-s}) / 2

and the same two lines with E, B in place of Q, U, summed over degrees, are the inverse (Zaldarriaga & Seljak
1997).
"""

from __future__ import annotations

import math
from functools import lru_cache

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from geocnn.groups.field_type import FieldType
from geocnn.harmonics.grid import RingGrid, grid_of
from geocnn.harmonics.latitude import Key, project_rings
from geocnn.harmonics.sht import check_count, check_type
from geocnn.lasting import is_traced, lasting

LONGEST_RING = 128


def is_dense(grid: RingGrid, lmax: int) -> bool:
    """Return whether this way is the faster one and every order up to lmax has a bin of its own."""
    direct = grid.is_product and grid.starts_at_zero
    return direct and lmax <= grid.lmax and 2 * lmax < grid.n_phi[0] <= LONGEST_RING


def dense_analysis(
    x: Float[Tensor, "b n d"], field_type: FieldType, grid: RingGrid, lmax: int
) -> Float[Tensor, "{lmax}+1 d {lmax}+1 2 b"]:
    """Return coefficients of features: the real and imaginary part by degree l, function and order m >= 0.

    Raises MapError where x does not lie on the grid or is neither float32 nor float64.

    >>> from geocnn.harmonics import gauss_legendre
    >>> dense_analysis(torch.randn(5, 28, 3), FieldType("1x0 + 1x1"), gauss_legendre(4, 7), 3).shape
    torch.Size([4, 3, 4, 2, 5])
    """
    check_type(x, None)
    check_count(x.mT, grid)
    rings = x.permute(1, 2, 0).unflatten(0, grid.shape)
    fourier = _longitude(grid, lmax, x.dtype, x.device).mT @ rings.flatten(2)
    fourier = fourier.unflatten(-1, rings.shape[2:]).unflatten(1, (lmax + 1, 2))
    coefficients = []
    # a split: each slice's backward pass would be as large as the whole
    parts = fourier.split([block.stop - block.start for block in field_type.blocks], 3)
    for block, part in zip(field_type.blocks, parts, strict=True):
        table = _latitude(grid, lmax, block.irrep.frequency, True, x.dtype, x.device)
        part = _through(table, part.transpose(0, 1), block.irrep.frequency)
        coefficients.append(part.permute(1, 3, 0, 2, 4))
    return torch.cat(coefficients, 1)


def dense_synthesis(
    coefficients: Float[Tensor, "degrees d degrees 2 b"], field_type: FieldType, grid: RingGrid
) -> Float[Tensor, "b n d"]:
    """Return the features with these coefficients, node-major in memory.

    >>> from geocnn.harmonics import gauss_legendre
    >>> grid, t = gauss_legendre(4, 7), FieldType("1x0 + 1x1")
    >>> smooth = dense_synthesis(dense_analysis(torch.randn(5, 28, 3).double(), t, grid, 3), t, grid)
    >>> again = dense_synthesis(dense_analysis(smooth, t, grid, 3), t, grid)
    >>> bool((smooth - again).abs().max() < 1e-12)
    True
    """
    lmax, like = len(coefficients) - 1, coefficients
    fourier = []
    parts = coefficients.split([block.stop - block.start for block in field_type.blocks], 1)
    for block, part in zip(field_type.blocks, parts, strict=True):
        table = _latitude(grid, lmax, block.irrep.frequency, False, like.dtype, like.device)
        part = _through(table, part.permute(2, 0, 3, 1, 4), block.irrep.frequency)
        fourier.append(part.transpose(0, 1))
    rings = torch.cat(fourier, 3)
    values = _longitude(grid, lmax, like.dtype, like.device) @ rings.flatten(1, 2).flatten(2)
    return values.flatten(0, 1).unflatten(-1, rings.shape[-2:]).permute(2, 0, 1)


def _through(
    table: Float[Tensor, "m rows k"], part: Float[Tensor, "m k 2 d b"], spin: int
) -> Float[Tensor, "m j 2 d b"]:
    """Multiply each order's part by its table [j, k]; with a spin, the table [2j, k] is -W above X."""
    product = torch.bmm(table, part.flatten(2)).unflatten(-1, part.shape[2:])
    if spin == 0:
        return product
    w, x = product.unflatten(3, (2, -1)).chunk(2, 1)
    # multiplication by i X swaps real and imaginary parts, and first and second components
    sign = x.new_tensor([[1.0, -1.0], [-1.0, 1.0]])[:, :, None, None]
    return torch.addcmul(w, x.flip(2, 3), sign).flatten(3, 4)


def _longitude(
    grid: RingGrid, lmax: int, dtype: torch.dtype, device: torch.device
) -> Float[Tensor, "n_phi columns"]:
    """Return `_longitude_table`, which graphs do not compute."""
    if is_traced():
        return _traced_longitude(grid.key, lmax, dtype, device)
    return _longitude_table(grid, lmax, dtype, device)


def _latitude(
    grid: RingGrid, lmax: int, spin: int, weighted: bool, dtype: torch.dtype, device: torch.device
) -> Float[Tensor, "orders rows columns"]:
    """Return `_latitude_table`, which graphs do not compute."""
    if is_traced():
        return _traced_latitude(grid.key, lmax, spin, weighted, dtype, device)
    return _latitude_table(grid, lmax, spin, weighted, dtype, device)


# A compiler may write into what an operator returns, so these return copies.


@torch.library.custom_op("geocnn::longitude_table", mutates_args=())
def _traced_longitude(grid: str, lmax: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    return _longitude_table(grid_of(grid), lmax, dtype, device).clone()


@torch.library.custom_op("geocnn::latitude_table", mutates_args=())
def _traced_latitude(
    grid: str, lmax: int, spin: int, weighted: bool, dtype: torch.dtype, device: torch.device
) -> Tensor:
    return _latitude_table(grid_of(grid), lmax, spin, weighted, dtype, device).clone()


@_traced_longitude.register_fake
def _(grid, lmax, dtype, device):
    return torch.empty(grid_of(grid).shape[1], 2 * (lmax + 1), dtype=dtype, device=device)


@_traced_latitude.register_fake
def _(grid, lmax, spin, weighted, dtype, device):
    degrees, rings = lmax + 1, grid_of(grid).shape[0]
    rows, columns = (degrees, rings) if weighted else (rings, degrees)
    return torch.empty(degrees, rows * (1 + (spin != 0)), columns, dtype=dtype, device=device)


@lru_cache(maxsize=64)
@lasting()
def _longitude_table(
    grid: RingGrid, lmax: int, dtype: torch.dtype, device: torch.device
) -> Float[Tensor, "n_phi columns"]:
    """Return the matrix from parts (re, im) of F_m to Re sum_m F_m e^{i m phi}; its adjoint is analysis."""
    n = grid.shape[1]
    turns = torch.outer(torch.arange(n), torch.arange(lmax + 1)).remainder(n).double() / n
    angle = 2 * math.pi * turns
    return torch.stack([angle.cos(), -angle.sin()], -1).flatten(1).to(device, dtype)


@lru_cache(maxsize=256)
@lasting()
def _latitude_table(
    grid: RingGrid, lmax: int, spin: int, weighted: bool, dtype: torch.dtype, device: torch.device
) -> Float[Tensor, "orders rows columns"]:
    """Return tables [degrees, rings] of analysis (weighted) or [rings, degrees] of synthesis, one per order;
    with a spin, -W above X, which is twice the rows.
    """
    plus = _harmonics(grid, lmax, spin, weighted)
    if spin == 0:
        parts = [plus]
    else:
        minus = (-1) ** spin * _harmonics(grid, lmax, -spin, weighted)
        parts = [-(plus + minus) / 2, (plus - minus) / 2]
    if not weighted:
        # m > 0 also counts for the negative orders of a real function
        twice = torch.where(torch.arange(lmax + 1) == 0, 1.0, 2.0).double()[:, None, None]
        parts = [twice * p.mT for p in parts]
    return torch.cat(parts, 1).to(device, dtype).contiguous()


def _harmonics(
    grid: RingGrid, lmax: int, spin: int, weighted: bool
) -> Float64[Tensor, "{lmax}+1 degrees rings"]:
    """Return the factors of `latitude.project_rings` for each order m >= 0, degree and ring."""
    key = Key(grid, lmax, spin, weighted, torch.float64, torch.device("cpu"))
    count, pairs = len(grid.n_phi), key.pairs
    one = torch.eye(count, dtype=torch.complex128)
    both = torch.stack([one[:pairs], one.flip(0)[:pairs]])
    if count % 2:
        # the equator is its own mirror image
        both[:, -1] *= 0.5
    rings = both.expand(2 * lmax + 1, -1, -1, -1).contiguous()
    return project_rings(key, rings).real.permute(1, 2, 0)[lmax:]
