"""Geometry and transforms are the same numbers whatever torch's default dtype is."""

import gc
from functools import _lru_cache_wrapper

import pytest
import torch

import geocnn.geometry as geometry
from geocnn.geometry.meshes.descriptors import shape_features
from geocnn.groups import FieldType, dihedral
from geocnn.groups.clebsch_gordan import clebsch_gordan
from geocnn.groups.irrep import Irrep
from geocnn.groups.steerable import null_space_basis, steerable_basis
from geocnn.groups.wigner import wigner_d_column
from geocnn.harmonics import equiangular, gauss_legendre, healpix_grid
from geocnn.harmonics.sht import analysis, integral, synthesis
from geocnn.nn import SO3Correlation

SURFACES = {
    "healpix": lambda: geometry.healpix(2),
    "cubic": lambda: geometry.healpix(4, interpolation="cubic"),
    "icosphere": lambda: geometry.icosphere(1),
    "ring grid": lambda: geometry.ring_grid(6, 12),
    "projective plane": lambda: geometry.projective_plane(2),
    "plane": lambda: geometry.plane((6, 6)),
    "Klein bottle": lambda: geometry.klein_bottle((6, 6)),
    "cone": lambda: geometry.cone(5.0, 4),
    "saddle": lambda: geometry.cone(7.0, 4),
    "mesh": lambda: egg(),
}


def egg():
    ball = geometry.icosphere(1)
    stretch = torch.tensor([1.0, 1.1, 1.4], dtype=torch.float64)
    return geometry.mesh(ball.points * stretch, ball.grid.solid.faces[-1])


def of_a_surface(make):
    s = make()
    s = s.turn_frames([0.1 * k for k in range(len(s))])
    yield from (s.points, s.frames, s.areas, s.anchor)
    log = s.log([0, 1], [2, 3])
    end = s.exp([0, 1], [[0.3, 0.1], [0.2, -0.4]])
    yield from (log.vectors, log.angle, end.points, end.weight, end.angle)
    for kind in ("exp", "log"):
        h = s.hierarchy(levels=2, radius=1.2 * s.spacing, kind=kind)
        for stencil in (*h.stencils, *h.down, *h.up):
            yield from (stencil.r, stencil.theta, stencil.weight, stencil.angle)
        yield from h.areas
    yield s._curvature()
    yield torch.tensor(
        geometry.holonomy(s, [0, 1] if len(s) < 3 else s.disc(2 * s.spacing, [0]).source[:2])[0]
    )


def of_a_mesh():
    s = egg()
    yield shape_features(s)[0]
    yield geometry.face_holonomy(s)
    yield geometry.vertex_holonomy(s)
    yield geometry.angle_defects(s)


def of_groups():
    t = FieldType("D4: 1x0e + 2x0o + 3x1 + 1x2e")
    yield t.rho(*dihedral(4).elements())
    yield t.act(torch.ones(2, t.dim, dtype=torch.float64), [0.1, 0.2])
    yield from (b for b in vars(steerable_basis(Irrep(1), Irrep(2), FieldType("1x0").group)).values())
    yield null_space_basis(Irrep(1), Irrep(1), dihedral(4), 2)
    yield clebsch_gordan(2, 3, 4)
    yield wigner_d_column(6, 2, -1, torch.linspace(0, 3, 5, dtype=torch.float64))


def of_transforms():
    for grid in (healpix_grid(4), healpix_grid(4, ring_weights=True), gauss_legendre(7), equiangular(8)):
        yield from (grid.weight, grid.theta, *grid.angles())
        values = torch.linspace(-1, 2, grid.n_points, dtype=torch.float64)
        alm = analysis(values, grid, 5)
        spin = analysis(torch.complex(values, values**2), grid, 5, spin=2)
        yield from (alm, spin, synthesis(alm, grid), synthesis(spin, grid, spin=2), integral(values, grid))
    layer = SO3Correlation("1x0 + 1x1", "1x0 + 1x1", lmax=4, rings=2, radius=0.7)
    yield layer._profiles


COMPUTED = {name: (lambda make=make: of_a_surface(make)) for name, make in SURFACES.items()}
COMPUTED |= {"shape": of_a_mesh, "groups": of_groups, "transforms": of_transforms}


def forget_tables():
    for held in gc.get_objects():
        # isinstance would read what dead proxies stood for
        if type(held) is _lru_cache_wrapper and str(held.__module__).startswith("geocnn"):
            held.cache_clear()


@pytest.mark.parametrize("compute", COMPUTED.values(), ids=COMPUTED)
def test_the_default_dtype_changes_no_number(compute):
    found = {}
    before = torch.get_default_dtype()
    for default in (torch.float64, torch.float32, torch.bfloat16):
        forget_tables()
        torch.set_default_dtype(default)
        try:
            found[default] = [t.clone() for t in compute()]
        finally:
            torch.set_default_dtype(before)
    for default in (torch.float32, torch.bfloat16):
        for k, (one, other) in enumerate(zip(found[torch.float64], found[default], strict=True)):
            assert one.dtype == other.dtype, k
            assert torch.equal(torch.nan_to_num(one), torch.nan_to_num(other)), k
