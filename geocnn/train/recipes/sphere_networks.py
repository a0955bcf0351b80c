"""The networks of the recipe spherical-digits, the memory that they need, and how they are measured."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import cache, lru_cache
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from geocnn.errors import GeocnnError
from geocnn.geometry import Hierarchy, healpix
from geocnn.geometry.spheres.pixels import bilinear_weights, nested_to_ring, npix, nside_of
from geocnn.groups import FieldType
from geocnn.harmonics import gauss_legendre, healpix_grid
from geocnn.nn import HarmonicEncoder, SurfaceEncoder, spectral_pool
from geocnn.train.memory import Layer, Need, estimate
from geocnn.train.recipe import Subject
from geocnn.train.settings import convs_conflicts, tuples, widths_conflicts

if TYPE_CHECKING:
    from geocnn.train.recipes.spherical_digits import SphericalDigitsSettings

CLASSES = [str(digit) for digit in range(10)]


class SphereNetwork(nn.Module):
    """A SurfaceEncoder with the HEALPix hierarchy it works on: x [B, npix, 1] -> logits [B, 10].

    Args:
        nside, widths, convs, dropout, rings, radius, stencil: as in SphericalDigitsSettings.
        oversample: evaluate it on an oversampled hierarchy (`Surface.hierarchy`); the weights are the same.
    """

    pixel: Tensor

    def __init__(
        self,
        *,
        nside: int,
        widths: tuple[str, ...],
        convs: tuple[int, ...],
        dropout: float,
        rings: int,
        radius: float,
        stencil: str,
        oversample: bool = False,
    ) -> None:
        super().__init__()
        self.encoder = SurfaceEncoder(
            *("1x0", widths, len(CLASSES)),
            convs=convs or None,
            rings=rings,
            dropout=dropout,
            pointwise=0,
            block="conv",
            input_norm=False,
            readout_levels="coarsest",
        )
        self.hierarchy = _hierarchy(nside, len(widths), radius, stencil, oversample)
        # nested order: neighbours lie close in memory, and the layers are a fifth faster
        self.register_buffer("pixel", nested_to_ring(nside, torch.arange(npix(nside))), persistent=False)

    def forward(self, x: Float[Tensor, "b npix 1"]) -> Float[Tensor, "b classes"]:
        weight = next(self.parameters())
        areas = self.hierarchy.areas[0]
        if (areas.device, areas.dtype) != (weight.device, weight.dtype):
            self.hierarchy = self.hierarchy.to(weight.device, weight.dtype)
        return self.encoder(x[:, self.pixel], self.hierarchy).squeeze(1)


@lru_cache(maxsize=8)
def _hierarchy(nside: int, levels: int, radius: float, stencil: str, oversample: bool) -> Hierarchy:
    # bilinear interpolation of features as coarse as the kernels that made them would be off by a tenth
    surface = healpix(nside, nested=True, interpolation="cubic" if oversample else "bilinear")
    return surface.hierarchy(levels, radius * surface.spacing, stencil, oversample=oversample)  # type: ignore[arg-type]


class HarmonicNetwork(nn.Module):
    """A HarmonicEncoder with the grids it works on: x [B, npix, 1] -> logits [B, 10], at any nside that holds
    its degrees.

    The maps are read by their coefficients, so from the first layer on it works on Gauss-Legendre grids, with
    room for a fourth more degrees than each layer keeps.

    Args:
        nside, widths, lmax, dropout, rings, radius: as in SphericalDigitsSettings.
        finer: the factor of further rings and samples on the fibre; the weights are the same.

    Raises GeocnnError where lmax is more than 2 nside.
    """

    def __init__(
        self,
        *,
        nside: int,
        widths: tuple[str, ...],
        lmax: tuple[int, ...],
        dropout: float,
        rings: int,
        radius: float,
        finer: int = 1,
    ) -> None:
        super().__init__()
        if conflicts := _degree_conflicts(nside, lmax):
            raise GeocnnError("; ".join(conflicts))
        self.lmax = lmax
        order = max(FieldType(width).max_frequency for width in widths)
        self.encoder = HarmonicEncoder(
            "1x0", widths, lmax, len(CLASSES), rings, radius, dropout,
            samples=None if finer == 1 else finer * (4 * order + 4),
        )  # fmt: skip
        self.grids = [gauss_legendre(math.ceil(finer * 1.25 * (l + 1))) for l in (lmax[0], *lmax)]

    def forward(self, x: Float[Tensor, "b npix 1"]) -> Float[Tensor, "b classes"]:
        # what one Jacobi iteration leaves of the quadrature's error is far below what the pixels blur
        sky = healpix_grid(nside_of(x.shape[-2]))
        first = spectral_pool(x, "1x0", sky, self.grids[0], self.lmax[0], iterations=1)
        return self.encoder(first, self.grids)


class PlanarNetwork(nn.Module):
    """The baseline: an ordinary CNN on the 60 x 60 latitude-longitude picture of the map.

    Rows go from north to south, columns from longitude -180 to 180 degrees, so that an upright digit is in
    the middle and reads as on paper. x [B, npix, 1] -> logits [B, 10].
    """

    pixel: Tensor
    weight: Tensor

    def __init__(self, *, nside: int, size: int = 60) -> None:
        super().__init__()
        middle = (torch.arange(size, dtype=torch.float64) + 0.5) / size
        theta, phi = torch.meshgrid(torch.pi * middle, torch.pi * (2 * middle - 1), indexing="ij")
        pixel, weight = bilinear_weights(nside, theta, phi)
        self.register_buffer("pixel", pixel, persistent=False)
        self.register_buffer("weight", weight.to(torch.float32), persistent=False)
        widths = (1, 16, 32, 64, 64)
        blocks = [
            layer
            for n_in, n_out in pairwise(widths)
            for layer in (
                nn.Conv2d(n_in, n_out, 3, padding=1),
                nn.BatchNorm2d(n_out),
                nn.ReLU(),
                nn.MaxPool2d(2),
            )
        ]
        self.layers = nn.Sequential(*blocks, nn.Flatten(), nn.Linear(64 * (size // 16) ** 2, len(CLASSES)))

    def forward(self, x: Float[Tensor, "b npix 1"]) -> Float[Tensor, "b classes"]:
        picture = (x.squeeze(-1)[:, self.pixel] * self.weight).sum(-1)
        return self.layers(picture.unsqueeze(1))


def at_any_nside(network: nn.Module, description: dict[str, Any]) -> Callable[[Tensor], Tensor]:
    """Return a harmonic or planar network in float64 as a function of maps of every resolution.

    On finer maps the harmonic one works on grids as much finer.
    """

    @cache
    def at(nside: int) -> nn.Module:
        finer = {"nside": nside}
        if description["kind"] == "harmonic":
            finer["finer"] = max(1, nside // description["nside"])
        twin = build_network(description | finer)
        twin.load_state_dict(network.state_dict())
        return twin.double().eval()

    return lambda x: at(nside_of(x.shape[-2]))(x)


def build_network(description: dict[str, Any]) -> nn.Module:
    """Build the untrained network of a description: its "kind", "sphere", "harmonic" or "planar", and its
    arguments.
    """
    arguments = tuples(description)
    kinds = {"sphere": SphereNetwork, "harmonic": HarmonicNetwork, "planar": PlanarNetwork}
    return kinds[arguments.pop("kind")](**arguments)


def network_conflicts(settings: SphericalDigitsSettings) -> list[str]:
    """Return one clause per fault in settings that describe no network."""
    nside, widths, lmax, convs = settings.nside, settings.widths, settings.lmax, settings.convs
    faults, coarsening = widths_conflicts(widths), 2 ** (len(widths) - 1)
    if nside & (nside - 1):
        faults.append(f"the setting nside is a power of two, got {nside}")
    if lmax and (len(lmax) != len(widths) or convs or settings.refine):
        faults.append(
            "a harmonic network has one lmax per width, no convs and no refine (try --preset long): "
            f"got {len(widths)} widths, {len(lmax)} lmax, {len(convs)} convs, refine = {settings.refine:g}"
        )
    if lmax:
        faults += _degree_conflicts(nside, lmax)
    elif nside < coarsening:
        faults.append(
            f"{len(widths)} widths, each at half the resolution, need nside {coarsening} or more, got {nside}"
        )
    return faults + (convs_conflicts(widths, convs) if convs else [])


def _degree_conflicts(nside: int, lmax: Sequence[int]) -> list[str]:
    if max(lmax) <= 2 * nside:
        return []
    return [f"maps of nside {nside} hold degrees up to {2 * nside}, lmax has {max(lmax)}"]


def needs(settings: SphericalDigitsSettings) -> Need:
    """Estimate the memory of one process."""
    dims = [1, *(FieldType(width).dim for width in settings.widths)]
    pixels = npix(settings.nside)
    batch_size = min(settings.batch_size, settings.train_size)
    if settings.lmax:
        layers = [
            Layer(before, after, 2 * (1.25 * (l + 1)) ** 2)
            for (before, after), l in zip(pairwise(dims), settings.lmax, strict=True)
        ]
        return estimate(layers, settings.rings, batch_size, pixels)
    # an oversampled hierarchy has four times the points
    points = [(4 if settings.refine else 1) * pixels / 4**level for level in range(len(settings.widths))]
    layers = []
    for level, (before, after) in enumerate(pairwise(dims)):
        convs = settings.convs[level] if settings.convs else min(level, 1)
        layers += [Layer(after, after, points[level])] * convs
        layers.append(Layer(before, after, points[level] / 4))
    entries = sum(n * min(n, math.pi * settings.radius * settings.radius) for n in points)
    return estimate(layers, settings.rings, batch_size, pixels, entries)


def subject(network: nn.Module, model: dict[str, Any]) -> Subject:
    """Put the network on HEALPix at half its resolution and at its own, the harmonic one at its own and twice
    that. The harmonic one and the baseline take maps, not frames.
    """
    described, nside = model["network"], model["network"]["nside"]
    if not isinstance(network, SphereNetwork):
        coarsest = healpix(nside) if described["kind"] == "harmonic" else healpix(nside).coarser()
        return Subject(at_any_nside(network, described), coarsest, None, "1x0")
    cubic = described.get("oversample", False)
    fine = healpix(nside, nested=True, interpolation="cubic" if cubic else "bilinear")
    levels, radius = len(described["widths"]), described["radius"] * fine.spacing
    options = {"kind": described["stencil"], "oversample": cubic}
    return Subject(network.encoder, fine.coarser(), lambda s: s.hierarchy(levels, radius, **options))
