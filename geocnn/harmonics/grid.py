"""Iso-latitude ring grids: HEALPix, Gauss-Legendre and equiangular, one class for every transform.

A grid is a list of rings of equal colatitude, ring j having n_phi[j] samples at phi0[j] + 2 pi k / n_phi[j].
Values on a grid are flat, [..., n_points], ring after ring from the north, eastward along each (in nested
order: by HEALPix's pixel numbers). Where all rings have the same length, that is [lat, lon], row after row:
`values.flatten(-2)` and `values.unflatten(-1, grid.shape)` convert without a copy.

Every grid is its own mirror image in the equator: transforms use that parity.
"""

from __future__ import annotations

import math
import operator
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from weakref import WeakValueDictionary

import torch
from jaxtyping import Float64, Int64, Shaped
from torch import Tensor
from torch.utils._pytree import register_pytree_node

from geocnn.errors import GeometryError
from geocnn.geometry.spheres.pixels import check_nside, ring_to_nested, rings
from geocnn.geometry.spheres.rings import gauss_legendre_rings
from geocnn.groups.wigner import wigner_d_column
from geocnn.lasting import is_traced, lasting


@dataclass(frozen=True, eq=False, repr=False)
class RingGrid:
    """An iso-latitude grid; `healpix_grid`, `gauss_legendre` and `equiangular` make it. `==` is identity.

    All tensors lie on the CPU; transforms move what they need.
    """

    name: str
    theta: Float64[Tensor, " rings"]
    """Colatitude of the rings in radians, increasing."""
    n_phi: tuple[int, ...]
    """Number of samples per ring."""
    phi0: Float64[Tensor, " rings"]
    """Longitude of the first sample of each ring in radians."""
    weight: Float64[Tensor, " rings"]
    """Quadrature weight of one sample of each ring; over all samples they sum to 4 pi."""
    lmax: int
    """The largest degree the grid resolves: `analysis` refuses more, and warns beyond `lmax_accurate`."""
    exact: bool
    """Whether analysis recovers functions of degree up to lmax except for rounding."""
    latitude_rule: Float64[Tensor, "2 fine rings"] | None = None
    """Trigonometric interpolation of even and odd functions of theta from the rings to the colatitudes
    `fine_theta`, by which analysis integrates where plain weights would not be exact; None elsewhere."""
    fine_theta: Float64[Tensor, " fine"] | None = None
    """Gauss-Legendre colatitudes; their weights are part of latitude_rule."""
    pixel: Int64[Tensor, " n"] | None = None
    """The flat position of every sample in ring order; None where that is the identity."""
    key: str = field(init=False)
    """The name, with a number behind it where unlike grids have one name: `grid_of` returns the grid."""
    starts_at_zero: bool = field(init=False)
    """Whether the first sample of the first ring lies at longitude 0."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "starts_at_zero", float(self.phi0[0]) == 0)
        key, number = self.name, 1
        while (other := _grids.get(key)) is not None and not _alike(self, other):
            number += 1
            key = f"{self.name} ({number})"
        object.__setattr__(self, "key", key)
        _grids.setdefault(key, self)

    @property
    def n_points(self) -> int:
        """The number of samples on all rings."""
        return sum(self.n_phi)

    @property
    def lmax_accurate(self) -> int:
        """The largest degree that `analysis` recovers to 1e-5 by default: 2 nside on HEALPix, elsewhere lmax.

        >>> healpix_grid(2).lmax_accurate, gauss_legendre(4).lmax_accurate
        (4, 3)
        """
        return self.lmax if self.exact else (len(self.n_phi) + 1) // 2

    @property
    def shape(self) -> tuple[int, int]:
        """(rings, samples per ring). Raises GeometryError where rings differ in length."""
        if not self.is_product:
            raise GeometryError(
                f"the rings of {self!r} differ in length, so it has no shape [lat, lon]; use flat values"
            )
        return len(self.n_phi), self.n_phi[0]

    @property
    def is_product(self) -> bool:
        """Whether flat values reshape to [lat, lon]."""
        return len(set(self.n_phi)) == 1 and self.pixel is None

    @cached_property
    @lasting()
    def start(self) -> Int64[Tensor, " rings"]:
        """The first sample of each ring in ring order."""
        count = torch.tensor(self.n_phi)
        return count.cumsum(0) - count

    def ring_values(self, per_ring: Shaped[Tensor, " rings"]) -> Shaped[Tensor, " n"]:
        """Repeat one value per ring for each of its samples.

        >>> gauss_legendre(2, 3).ring_values(torch.tensor([1, 2])).tolist()
        [1, 1, 1, 2, 2, 2]
        """
        samples = per_ring.repeat_interleave(torch.tensor(self.n_phi, device=per_ring.device))
        if self.pixel is None:
            return samples
        flat = torch.empty_like(samples)
        flat[self.pixel.to(per_ring.device)] = samples
        return flat

    def angles(self) -> tuple[Float64[Tensor, " n"], Float64[Tensor, " n"]]:
        """Return colatitude and longitude of every point in radians.

        >>> theta, phi = equiangular(3, 4, poles=True).angles()
        >>> (phi / torch.pi).tolist()
        [0.0, 0.5, 1.0, 1.5, 0.0, 0.5, 1.0, 1.5, 0.0, 0.5, 1.0, 1.5]
        """
        count = torch.tensor(self.n_phi)
        number = torch.arange(self.n_points) - self.start.repeat_interleave(count)
        step = 2 * math.pi / count.double()
        longitude = self.phi0.repeat_interleave(count) + number * step.repeat_interleave(count)
        if self.pixel is not None:
            longitude = torch.empty_like(longitude).index_copy_(0, self.pixel, longitude)
        return self.ring_values(self.theta), longitude

    def __repr__(self) -> str:
        return f"{self.name}: {len(self.n_phi)} rings, {self.n_points} points, lmax {self.lmax}"


_grids: WeakValueDictionary[str, RingGrid] = WeakValueDictionary()


def grid_of(key: str) -> RingGrid:
    """Return the grid of that key, by which compiled and exported programs name it.

    Raises GeometryError where there is none: a grid that is none of geocnn's is known while it lives.

    >>> grid_of("healpix(4, nested)")
    healpix(4, nested): 15 rings, 192 points, lmax 11
    """
    grid = _grids.get(key)
    if grid is None:
        kind, _, options = key.removesuffix(")").partition("(")
        sizes = [int(part) for part in options.split(", ") if part.isdigit()]
        if kind == "healpix" and len(sizes) == 1:
            grid = healpix_grid(*sizes, nested=", nested" in options, ring_weights=", ring" in options)
        elif kind == "gauss_legendre" and len(sizes) == 2:
            grid = gauss_legendre(*sizes)
        elif kind == "equiangular" and len(sizes) == 2:
            grid = equiangular(*sizes, poles=", poles" in options)
    if grid is None or grid.key != key:
        raise GeometryError(f"no grid is called {key!r} here; make it before the program runs")
    return grid


def _alike(a: RingGrid, b: RingGrid) -> bool:
    """Return whether two grids have the same samples and weights."""
    tensors = ("theta", "phi0", "weight", "latitude_rule", "fine_theta", "pixel")
    pairs = [(getattr(a, name), getattr(b, name)) for name in tensors]
    same = all(x is y or (x is not None and y is not None and torch.equal(x, y)) for x, y in pairs)
    return same and (a.n_phi, a.lmax, a.exact) == (b.n_phi, b.lmax, b.exact)


@lru_cache(maxsize=32)
@lasting()
def healpix_grid(nside: int, nested: bool = False, ring_weights: bool = False) -> RingGrid:
    """Make the HEALPix grid (Gorski et al. 2005) in ring or nested order. lmax is 3 nside - 1.

    Quadrature is approximate. Up to degree 2 nside, analysis improves it by iterations to 1e-5. Beyond, the
    error grows to a tenth at 3 nside - 1, where iterations hardly help.

    Args:
        nside: a power of two.
        nested: whether pixels are in nested instead of ring order.
        ring_weights: whether weights differ from 4 pi / npix, by the least change that integrates zonal
            functions of degree up to 3 nside exactly. The weights that healpy stores are these at nside 8,
            16 and 256; at other nside they stop at another degree.

    Raises:
        GeometryError: nside is not a power of two.

    >>> healpix_grid(2)
    healpix(2): 7 rings, 48 points, lmax 5
    """
    layout = rings(check_nside(nside))
    n = 12 * nside**2
    weight = torch.full((4 * nside - 1,), 4 * math.pi / n, dtype=torch.float64)
    options = ", nested" * nested + ", ring weights" * ring_weights
    return RingGrid(
        f"healpix({nside}{options})",
        layout.theta,
        tuple(layout.n_phi.tolist()),
        layout.phi0,
        weight * (1 + _ring_weight_changes(nside, layout.theta, layout.n_phi)) if ring_weights else weight,
        lmax=3 * nside - 1,
        exact=False,
        pixel=ring_to_nested(nside, torch.arange(n)) if nested else None,
    )


def _ring_weight_changes(
    nside: int, theta: Float64[Tensor, " rings"], n_phi: Int64[Tensor, " rings"]
) -> Float64[Tensor, " rings"]:
    """Return c with sum_r n_r (1 + c_r) P_l(z_r) = 12 nside^2 delta_l0 and least sum of (n_r c_r)^2."""
    count = n_phi[: 2 * nside].double()
    count[:-1] *= 2  # odd degrees vanish between a ring and its mirror image
    legendre = wigner_d_column(3 * nside, 0, 0, theta[: 2 * nside])[:, ::2].T
    missing = -legendre @ count
    missing[0] += 12 * nside**2
    change = torch.linalg.lstsq(legendre, missing[:, None], driver="gelsd").solution[:, 0] / count
    return torch.cat([change, change[:-1].flip(0)])


@lru_cache(maxsize=32)
@lasting()
def gauss_legendre(n_lat: int, n_lon: int | None = None) -> RingGrid:
    """Make a grid on Gauss-Legendre colatitudes, exact for degrees l < n_lat with 2l < n_lon.

    Args:
        n_lat: number of rings.
        n_lon: samples per ring, at longitudes 2 pi k / n_lon; 2 n_lat by default.

    Raises:
        GeometryError: a number is not whole or is below one.

    >>> gauss_legendre(64)
    gauss_legendre(64, 128): 64 rings, 8192 points, lmax 63
    """
    n_lat, n_lon = _checked_size(n_lat, n_lon, least=1)
    theta, weight = gauss_legendre_rings(n_lat)
    return _product_grid("gauss_legendre", theta, weight, n_lon, min(n_lat - 1, (n_lon - 1) // 2))


@lru_cache(maxsize=32)
@lasting()
def equiangular(n_lat: int, n_lon: int | None = None, poles: bool = False) -> RingGrid:
    """Make a grid of equally spaced colatitudes, exact for degrees l < n_lat with 2l < n_lon.

    With poles, l < n_lat - 1. Analysis integrates the trigonometric interpolant in theta against the
    harmonics exactly, so degree l needs l + 1 rings, as on a Gauss-Legendre grid (l + 2 with poles); plain
    weights would need 2l + 1. `weight` has these plain weights (Fejer's first rule; Clenshaw-Curtis with
    poles), which integrate functions of degree below n_lat exactly.

    Args:
        n_lat: number of rings, at (j + 1/2) pi / n_lat; with poles at j pi / (n_lat - 1).
        n_lon: samples per ring, at longitudes 2 pi k / n_lon; 2 n_lat by default.
        poles: whether the first and last ring are the poles, as in climate data.

    Raises:
        GeometryError: a number is not whole; n_lat is below one, or three with poles; n_lon is below one.

    Source: Swarztrauber 1979, SIAM J. Numer. Anal. 16:934 (the Z functions of SPHEREPACK): the interpolant of
    a function of degree below n_lat is that function.

    >>> equiangular(73, 144, poles=True)
    equiangular(73, 144, poles): 73 rings, 10512 points, lmax 71
    """
    n_lat, n_lon = _checked_size(n_lat, n_lon, least=3 if poles else 1)
    steps = n_lat - 1 if poles else n_lat
    theta = math.pi * (torch.arange(n_lat, dtype=torch.float64) + (0.0 if poles else 0.5)) / steps
    fine_theta, fine_weight = gauss_legendre_rings(n_lat + n_lat % 2)
    rule = fine_weight[:, None] * _trigonometric_interpolation(theta, fine_theta, steps, poles)
    return _product_grid(
        "equiangular", theta, rule[0].sum(0), n_lon, min(steps - 1, (n_lon - 1) // 2), rule, fine_theta, poles
    )


def _product_grid(
    name: str,
    theta: Tensor,
    weight: Tensor,
    n_lon: int,
    lmax: int,
    rule: Tensor | None = None,
    fine_theta: Tensor | None = None,
    poles: bool = False,
) -> RingGrid:
    n_lat = len(theta)
    return RingGrid(
        f"{name}({n_lat}, {n_lon}{', poles' if poles else ''})",
        theta,
        (n_lon,) * n_lat,
        torch.zeros(n_lat, dtype=torch.float64),
        weight * (2 * math.pi / n_lon),
        lmax,
        True,
        rule if rule is None else rule * (2 * math.pi / n_lon),
        fine_theta,
    )


def point_weights(grid: RingGrid, device: torch.device) -> Float64[Tensor, " n"]:
    """Return the quadrature weight of every point on a device; weights sum to 4 pi.

    >>> round(point_weights(gauss_legendre(2), torch.device("cpu")).sum().item() / torch.pi, 12)
    4.0
    """
    if is_traced():
        return _traced_weights(grid.key, device)
    return _weights(grid, device)


@lru_cache(maxsize=32)
@lasting()
def _weights(grid: RingGrid, device: torch.device) -> Float64[Tensor, " n"]:
    return grid.ring_values(grid.weight).to(device)


@torch.library.custom_op("geocnn::point_weights", mutates_args=())
def _traced_weights(grid: str, device: torch.device) -> Tensor:
    # a compiler may write into what an operator returns
    return _weights(grid_of(grid), device).clone()


@_traced_weights.register_fake
def _(grid, device):
    return torch.empty(grid_of(grid).n_points, dtype=torch.float64, device=device)


def _checked_size(n_lat: int, n_lon: int | None, least: int) -> tuple[int, int]:
    try:
        # a number that equals an int shares its entry in the cache, and must make the same grid
        n_lat, n_lon = operator.index(n_lat), operator.index(2 * n_lat if n_lon is None else n_lon)
    except TypeError as error:
        raise GeometryError(
            f"a grid cannot have {n_lat} rings of {n_lon} samples; give whole numbers"
        ) from error
    if n_lat < least or n_lon < 1:
        raise GeometryError(
            f"a grid cannot have {n_lat} rings of {n_lon} samples; give at least {least} rings of at least "
            "one sample"
        )
    return n_lat, n_lon


def _trigonometric_interpolation(
    theta: Float64[Tensor, " rings"], fine_theta: Float64[Tensor, " fine"], steps: int, poles: bool
) -> Float64[Tensor, "2 fine rings"]:
    """Return matrices that evaluate the cosine (even) and sine (odd) series through values at theta."""
    degree = torch.arange(len(theta) + (0 if poles else 1), dtype=torch.float64)
    half_degree = torch.where((degree == 0) | (degree == steps), 0.5, 1.0)
    half_end = torch.ones_like(theta)
    if poles:
        half_end[0] = half_end[-1] = 0.5
    series = []
    for wave in (torch.cos, torch.sin):
        forward = wave(degree[:, None] * theta) * half_end
        series.append((wave(fine_theta[:, None] * degree) * half_degree) @ forward * (2 / steps))
    return torch.stack(series)


# graphs hold the key of a grid, so its tensors are no inputs of theirs
register_pytree_node(
    RingGrid,
    lambda grid: ([], grid.key),
    lambda _, key: grid_of(key),
    flatten_with_keys_fn=lambda grid: ([], grid.key),
    serialized_type_name="geocnn.RingGrid",
)
torch.serialization.add_safe_globals([RingGrid])
