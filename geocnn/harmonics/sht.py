"""(Spin-weighted) spherical harmonic transform on ring grids: differentiable, batched, on any device.

Convention (healpy's): f(theta, phi) = sum_lm a_lm sYlm(theta, phi), orthonormal, with Condon-Shortley phase,

    sYlm(theta, phi) = (-1)^s sqrt((2l + 1) / 4 pi) d^l_{m,-s}(theta) e^{i m phi},

so for spin 0, f = 1 has a_00 = sqrt(4 pi) and f = cos(theta) has a_10 = sqrt(4 pi / 3). A field of frequency
s in the frames (e1 south, e2 east) is a spin-s function. Coefficients have the layouts of `coefficients`.

A transform is a Fourier transform along rings (`longitude`) and one matrix product per order (`latitude`).
Both are linear, and autograd uses their adjoints, which are transforms again: nothing is stored between
forward and backward, and derivatives of any order exist.
"""

from __future__ import annotations

import operator
import warnings
from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Complex, Inexact
from torch import Tensor

from geocnn.errors import GeometryError, MapError
from geocnn.geometry.core.quadrature import weighted_sum
from geocnn.geometry.core.values import check_values
from geocnn.harmonics.coefficients import lmax_of
from geocnn.harmonics.grid import RingGrid, grid_of, point_weights
from geocnn.harmonics.latitude import Key, expand, project_rings
from geocnn.harmonics.longitude import from_fourier, is_direct, refold, spectrum_size, to_fourier
from geocnn.harmonics.real_functions import expand_pairs, expanded, project_pairs
from geocnn.harmonics.ring_samples import ring_samples
from geocnn.lasting import is_traced

PART_BYTES = 1 << 23  # size of the values that a processor transforms at once
PART_BYTES_OF_PAIRS = 1 << 25  # the same for `real_functions`, whose products are faster where they are wider
PART_BYTES_OF_SAMPLES = 1 << 26  # the same for synthesis by `ring_samples`
SEVERAL = 4  # functions from which on synthesis in parts is faster, by `ring_samples`


def synthesis(
    alm: Complex[Tensor, "*batch degrees orders"], grid: RingGrid, spin: int | None = None
) -> Inexact[Tensor, "*batch n"]:
    """Return the values on a grid of the function with the coefficients alm; exact for every lmax.

    Values are real or, for a spin, complex, in the precision of alm.

    Args:
        alm: [..., lmax + 1, lmax + 1] of a real function; for a spin [..., lmax + 1, 2 lmax + 1]. Entries
            |m| > l or l < |spin| and, for real functions, imaginary parts of m = 0 are ignored.
        grid: the grid.
        spin: spin of a complex function, any sign; None for a real function. A spin-s function has
            components in the frames (south, east).

    Raises:
        MapError: alm is not complex or not of the layout.

    >>> from geocnn.harmonics import gauss_legendre
    >>> alm = torch.zeros(2, 3, dtype=torch.complex128)
    >>> alm[1, 1] = -((8 * torch.pi / 3) ** 0.5)                # the gradient of cos(theta) is -sin(theta) e1
    >>> synthesis(alm, gauss_legendre(3, 2), spin=1).real.round(decimals=4).tolist()
    [-0.6325, -0.6325, -1.0, -1.0, -0.6325, -0.6325]
    """
    lmax = lmax_of(alm, signed=spin is not None)
    return _transformed(alm, grid, lmax, spin, 0, weighted=False, project=False)


def analysis(
    values: Inexact[Tensor, "*batch n"],
    grid: RingGrid,
    lmax: int,
    spin: int | None = None,
    iterations: int | None = None,
) -> Complex[Tensor, "*batch degrees orders"]:
    """Return the coefficients of a function from its values on a grid.

    They are exact for functions of degree up to lmax if the grid is (`RingGrid.exact`). HEALPix quadrature is
    not, and Jacobi iterations improve it, alm <- alm + A(values - S alm), as in healpy's `map2alm`: up to
    lmax = 2 nside the relative error at nside 32 is 3e-3 to 5e-3 without and below 1e-5 with three. Beyond,
    three iterations leave 2e-4 at 2.5 nside and a tenth at 3 nside - 1 (for white spectra): there a warning
    is given unless `iterations` is set.

    Args:
        values: real values, or complex ones for a spin.
        grid: the grid; its `lmax` is the largest allowed.
        lmax: largest degree.
        spin: spin of a complex function in the frames (south, east), any sign; None for a real function.
        iterations: number of Jacobi iterations; None for 3 on HEALPix and 0 on exact grids.

    Returns:
        [..., lmax + 1, lmax + 1]; for a spin [..., lmax + 1, 2 lmax + 1] with zeros for l < |spin|. The
        precision is that of values. In memory m comes before l.

    Raises:
        MapError: values are of the wrong type or number, or some are NaN, infinite or mean "no value"
            (UNSEEN, 1e20, ...: `geometry.core.values.FILLS`).
        GeometryError: lmax or iterations is out of range.

    >>> from geocnn.harmonics import healpix_grid
    >>> one = torch.ones(48, dtype=torch.float64)
    >>> analysis(one, healpix_grid(2), lmax=1).abs().square().round(decimals=6).tolist()
    [[12.566371, 0.0], [0.0, 0.0]]
    """
    check_count(values, grid)
    check_type(values, spin)
    check_finite(values, -1)
    return unchecked_analysis(values, grid, lmax, spin, iterations)


def unchecked_analysis(
    values: Tensor, grid: RingGrid, lmax: int, spin: int | None = None, iterations: int | None = None
) -> Tensor:
    """Return coefficients as `analysis` does, for layers, which do not look for bad values."""
    check_count(values, grid)
    check_type(values, spin)
    if not 0 <= lmax <= grid.lmax:
        raise GeometryError(f"lmax={lmax} is out of range on {grid!r}; use 0 <= lmax <= {grid.lmax}")
    if iterations is None and lmax > grid.lmax_accurate:
        warnings.warn(_inaccurate(lmax, grid), stacklevel=3)
    iterations = (0 if grid.exact else 3) if iterations is None else iterations
    if iterations < 0:
        raise GeometryError(f"iterations={iterations} is negative; use 0 for plain quadrature")
    lmax = operator.index(lmax)
    return _transformed(values, grid, lmax, spin, iterations, weighted=True, project=True)


def integral(values: Inexact[Tensor, "*batch n"], grid: RingGrid) -> Inexact[Tensor, "*batch"]:
    """Return the integral of values over the unit sphere by the grid's weights.

    It is exact for degrees up to 2 n_lat - 1 on Gauss-Legendre grids and below n_lat on equiangular ones, if
    they are also below n_lon. Values in half precision have an integral in float32.

    Raises:
        MapError: the values are not real or complex numbers, or their number is not the number of points.

    >>> from geocnn.harmonics import gauss_legendre
    >>> round(integral(torch.ones(8, dtype=torch.float64), gauss_legendre(2)).item() / torch.pi, 12)
    4.0
    """
    check_count(values, grid)
    if not (values.is_floating_point() or values.is_complex()):
        raise MapError(f"values of {values.dtype} cannot be weighted by fractions; give values.double()")
    return weighted_sum(values, point_weights(grid, values.device))


def _transformed(
    x: Tensor, grid: RingGrid, lmax: int, spin: int | None, iterations: int, weighted: bool, project: bool
) -> Tensor:
    """Apply quadrature (weighted), synthesis, or the adjoint of one: values to coefficients (`project`) or
    coefficients to values.
    """
    if is_traced():
        return transform(x, grid.key, lmax, spin, iterations, weighted, project)
    key = Key(grid, lmax, spin, weighted, x.real.dtype, x.device)
    maps = _project(key, iterations), _expand(key, iterations)
    return _Linear.apply(x, *(maps if project else maps[::-1]))


@torch.library.custom_op("geocnn::transform", mutates_args=())
def transform(
    x: Tensor, grid: str, lmax: int, spin: int | None, iterations: int, weighted: bool, project: bool
) -> Tensor:
    """Apply `_transformed`, in a form that compilers can hold."""
    key = Key(grid_of(grid), lmax, spin, weighted, x.real.dtype, x.device)
    return (_project if project else _expand)(key, iterations)(x)


@transform.register_fake
def _(x, grid, lmax, spin, iterations, weighted, project):
    if project:
        orders, dtype = lmax + 1 if spin is None else 2 * lmax + 1, x.real.dtype.to_complex()
        # orders lie before degrees in memory
        return x.new_empty(*x.shape[:-1], orders, lmax + 1, dtype=dtype).mT
    dtype = x.real.dtype if spin is None else x.dtype
    return x.new_empty(*x.shape[:-2], grid_of(grid).n_points, dtype=dtype)


def _keep_map(ctx: Any, inputs: tuple, output: Tensor) -> None:
    ctx.map = inputs[1:]


def _adjoint_map(ctx: Any, g: Tensor) -> tuple:
    *map, project = ctx.map
    return transform(g, *map, not project), None, None, None, None, None, None


transform.register_autograd(_adjoint_map, setup_context=_keep_map)


class _Linear(torch.autograd.Function):
    """A linear map of tensors [..., values]; the backward pass is its adjoint, itself such a map."""

    @staticmethod
    def forward(x: Tensor, apply: Callable, adjoint: Callable) -> Tensor:
        return apply(x)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple, output: Tensor) -> None:
        _, *ctx.maps = inputs

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:  # pyright: ignore[reportIncompatibleMethodOverride]
        apply, adjoint = ctx.maps
        return _Linear.apply(gradients[0], adjoint, apply), None, None

    @staticmethod
    def jvp(ctx: Any, tangent: Tensor, *_: None) -> Tensor:
        return _Linear.apply(tangent, *ctx.maps)

    @staticmethod
    def vmap(info: Any, in_dims: tuple, x: Tensor, apply: Callable, adjoint: Callable) -> tuple[Tensor, int]:
        return _Linear.apply(x.movedim(in_dims[0], 0), apply, adjoint), 0


def _project(key: Key, iterations: int = 0) -> Callable[[Tensor], Tensor]:
    """Return analysis with Jacobi iterations on Fourier coefficients, so that values are transformed once."""
    (project, spread), back = _through(key), key._replace(weighted=not key.weighted)
    sizes = _sizes(key)

    def apply(values: Tensor) -> Tensor:
        flat = values[None].flatten(0, -2).resolve_conj()
        alm = flat.new_empty(len(flat), key.n_orders, key.lmax + 1, dtype=key.dtype.to_complex())
        for part, target in zip(_parts(key, flat), _parts(key, alm), strict=True):
            fourier = to_fourier(*sizes, part)
            found = project(key, fourier)
            for _ in range(iterations):
                again = refold(*sizes, spread(back, found, len(fourier)), key.spin is None)
                found = found + project(key, fourier - again)
            target.copy_(found)
        return alm.mT.unflatten(0, (1, *values.shape[:-1]))[0]

    return apply


def _expand(key: Key, iterations: int = 0) -> Callable[[Tensor], Tensor]:
    """Return synthesis, or the adjoint of `_project`: sum_k A* (1 - S* A*)^k."""
    (project, spread), back = _through(key), key._replace(weighted=not key.weighted)
    sizes = _sizes(key)
    real = key.spin is None
    size = spectrum_size(*sizes, real)
    in_parts = real and not is_direct(*sizes)

    def finish(alm: Tensor, values: Tensor) -> None:
        if in_parts and len(alm) >= SEVERAL:
            ring_samples(*sizes, expanded(key, alm), values)
        else:
            values.copy_(from_fourier(*sizes, spread(key, alm, size), real))

    def apply(alm: Tensor) -> Tensor:
        flat = alm[None].flatten(0, -3).resolve_conj().mT
        dtype = key.dtype if real else key.dtype.to_complex()
        values = torch.empty(len(flat), key.grid.n_points, dtype=dtype, device=alm.device)
        wide = in_parts and not iterations
        for part, target in zip(_parts(key, flat, wide), _parts(key, values, wide), strict=True):
            total = part
            for _ in range(iterations):
                part = part - project(back, refold(*sizes, spread(key, part, size), real))
                total = total + part
            finish(total, target)
        return values.unflatten(0, (1, *alm.shape[:-2]))[0]

    return apply


def _through(key: Key) -> tuple[Callable[..., Tensor], Callable[..., Tensor]]:
    """Return the transform in colatitude; small tables on product grids are fastest with the batch last."""
    if key.spin is not None or (key.is_stored and is_direct(*_sizes(key))):
        return project_rings, expand
    return project_pairs, expand_pairs


def _sizes(key: Key) -> tuple[RingGrid, int]:
    return key.grid, key.lmax


def _parts(key: Key, batch: Tensor, wide: bool = False) -> tuple[Tensor, ...]:
    """Split a batch so that intermediate values stay in the processor's cache; not where tables are costly.

    An empty batch has no parts, since Fourier transforms refuse it.
    """
    if not len(batch):
        return ()
    if batch.device.type != "cpu" or not key.is_stored:
        return (batch,)
    if project_rings in _through(key):
        size = PART_BYTES
    else:
        size = PART_BYTES_OF_SAMPLES if wide else PART_BYTES_OF_PAIRS
    return batch.split(max(1, size // (key.dtype.itemsize * key.grid.n_points)))


def _inaccurate(lmax: int, grid: RingGrid) -> str:
    return (
        f"lmax={lmax} on {grid!r}: its quadrature and the default three iterations leave an error that grows "
        f"from 1e-5 at degree {grid.lmax_accurate} (2 nside) to a tenth at {grid.lmax} (3 nside - 1); use "
        f"lmax <= {grid.lmax_accurate}, a finer map, or set the number of iterations"
    )


class _Checked(torch.autograd.Function):
    """The check of `check_finite`, which sees all examples that a transform of functions maps over."""

    @staticmethod
    def forward(values: Tensor, dim: int) -> Tensor:
        check_values(values, dim, "points")
        return values.new_empty(0)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple, output: Tensor) -> None:
        ctx.mark_non_differentiable(output)

    @staticmethod
    def vmap(info: Any, in_dims: tuple, values: Tensor, dim: int) -> tuple[Tensor, None]:
        return _Checked.apply(values.movedim(in_dims[0], 0), dim), None


def check_finite(values: Tensor, dim: int) -> None:
    """Raise BadValueError where values are NaN, infinite or mean "no value"; not in a compiled graph, which
    cannot look at them.
    """
    if not is_traced():
        _Checked.apply(values.detach(), dim)


def check_grid(grid: RingGrid) -> None:
    """Raise GeometryError for anything but a grid."""
    if not isinstance(grid, RingGrid):
        raise GeometryError(
            f"transforms work on a RingGrid, got a {type(grid).__name__}; make one by healpix_grid(nside), "
            "gauss_legendre(n_lat) or equiangular(n_lat)"
        )


def check_count(values: Tensor, grid: RingGrid) -> None:
    """Raise MapError unless values [..., n_points] are a tensor with one value per point of the grid, and
    GeometryError unless the grid is one.
    """
    check_grid(grid)
    if not isinstance(values, Tensor):
        raise MapError(
            f"values are a torch.Tensor, got a {type(values).__name__}; give torch.as_tensor(values)"
        )
    if values.shape[-1:] != (grid.n_points,):
        raise MapError(
            f"values of shape {tuple(values.shape)} do not lie on {grid!r}; give [..., {grid.n_points}]"
            " (values.flatten(-2) of [..., lat, lon])"
        )


def check_type(values: Tensor, spin: int | None) -> None:
    """Raise MapError unless values are real or, for a spin, complex, in single or double precision."""
    dtypes = (torch.float32, torch.float64) if spin is None else (torch.complex64, torch.complex128)
    if values.dtype not in dtypes:
        names = " or ".join(str(dtype) for dtype in dtypes)
        raise MapError(f"values of {values.dtype} with spin={spin}; give {names}, or another spin")
