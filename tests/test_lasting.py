"""What is kept for later calls does not depend on the mode in which it was first asked for."""

import ast
from pathlib import Path

import pytest
import torch

import geocnn
import geocnn.geometry as geometry
from geocnn.groups.clebsch_gordan import clebsch_gordan
from geocnn.harmonics import equiangular, gauss_legendre, healpix_grid
from geocnn.harmonics.invariants import bispectrum
from geocnn.harmonics.sht import analysis, synthesis
from geocnn.lasting import kept, lasting
from geocnn.nn import GaugeConv, SO3Correlation, SurfaceEncoder, SurfaceUNet
from geocnn.nn.planar.layer_taps import taps
from geocnn.ops import operators as ops

PACKAGE = Path(geocnn.__file__).parent


def bodies():
    ico = geometry.icosphere(1)
    return geometry.mesh(ico.points * torch.tensor([1.0, 1.1, 1.3]), ico.grid.solid.faces[-1])


# Each takes a size that no other test uses, so that nothing is kept from there, and gives a function of one
# call: all it keeps is made in the first.


def gauge_conv():
    stencil, layer = geometry.healpix(4).stencil(0.55), GaugeConv("1x0", "2x0 + 1x1")
    return lambda: layer(torch.ones(192, 1), stencil)


def stencil_made_on_the_way():
    layer, kept_stencils = GaugeConv("1x0", "2x0 + 1x1"), []

    def call():
        if not kept_stencils:
            kept_stencils.append(geometry.healpix(2).stencil(0.9).to(dtype=torch.float32))
        return layer(torch.ones(48, 1), kept_stencils[0])

    return call


def encoder_and_its_hierarchy():
    # in training mode its norms would remember the first call
    model, made = SurfaceEncoder("1x0", ["2x0 + 1x1", "2x0"], n_out=2).eval(), []

    def call():
        if not made:
            made.append(bodies().hierarchy(levels=2, kind="log").to(dtype=torch.float32))
        return model(torch.ones(42, 1), made[0])

    return call


def oversampled_unet():
    model = SurfaceUNet("1x0", ["2x0 + 1x1", "2x0 + 1x1"], "1x0").eval()
    h = geometry.healpix(4).hierarchy(levels=2, oversample=True).to(dtype=torch.float32)
    return lambda: model(torch.ones(192, 1), h)


def areas_in_a_loss():
    made = []
    weight = torch.ones(48, dtype=torch.float64, requires_grad=True)

    def call():
        if not made:
            made.append(geometry.healpix(2))
        return made[0].areas * weight

    return call


def correlation(grid, lmax):
    def build():
        layer = SO3Correlation("1x0", "1x0 + 1x1", lmax=lmax)
        return lambda: layer(torch.ones(grid().n_points, 1), grid())

    return build


def transform():
    values = torch.ones(equiangular(9, 17, poles=True).n_points, requires_grad=True)
    return lambda: synthesis(analysis(values, equiangular(9, 17, poles=True), 5), equiangular(9, 17))


def products():
    alm = torch.ones(5, 9, dtype=torch.complex64, requires_grad=True)
    return lambda: bispectrum(alm).abs()


def plane_taps():
    layer = GaugeConv("trivial: 1x0", "trivial: 2x0", max_frequency=1)
    return lambda: taps(layer, 1.7)


KEEPING = {
    "a stencil's operator": gauge_conv,
    "a stencil": stencil_made_on_the_way,
    "a mesh's hierarchy": encoder_and_its_hierarchy,
    "readings and transported means": oversampled_unet,
    "a surface": areas_in_a_loss,
    "dense tables": correlation(lambda: gauss_legendre(7, 13), 5),
    "tables by recurrence": correlation(lambda: healpix_grid(4), 6),
    "a transform": transform,
    "Clebsch-Gordan": products,
    "taps": plane_taps,
}


@pytest.mark.parametrize("build", KEEPING.values(), ids=KEEPING)
def test_what_was_first_used_in_inference_mode_can_be_trained_on(build):
    call = build()
    with torch.inference_mode():
        first = call().clone()
    again = call()
    again.square().sum().backward()
    assert torch.equal(again, first)


def test_an_operator_first_used_under_autocast_keeps_its_precision():
    """Products of 2 x 2 matrices are what autocast would round to bfloat16 there, by a thousandth."""
    layer, x = GaugeConv("2x0 + 2x1", "2x0 + 2x1"), torch.randn(192, 6)
    used, fresh = (geometry.healpix(4).stencil(0.6).to(dtype=torch.float32) for _ in range(2))
    with torch.autocast("cpu", torch.bfloat16):
        layer(x, used)
    assert torch.equal(layer(x, used), layer(x, fresh))


def test_operators_built_in_pieces_at_every_call_know_nothing_of_autocast(monkeypatch):
    layer, x = GaugeConv("2x0 + 2x1", "2x0 + 2x1"), torch.randn(192, 6)
    stencil = geometry.healpix(4).stencil(0.6).to(dtype=torch.float32)
    monkeypatch.setattr(ops, "OPERATOR_BYTES", 0)
    whole = layer(x, stencil)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(layer(x, stencil), whole)


def test_grids_made_for_another_default_device_lie_on_the_cpu():
    with torch.device("meta"):
        grid = gauss_legendre(6, 19)
        assert grid.start.device.type == "cpu" and grid.theta.device.type == "cpu"
        assert clebsch_gordan(4, 3, 2).device.type == "cpu"
    with torch.device("meta"), lasting():
        assert torch.zeros(1).device.type == "cpu"


def test_no_more_is_kept_than_allowed():
    made = []

    @kept(most=100)
    def zeros(n):
        made.append(n)
        return torch.zeros(n)  # 4 n bytes

    for n in (10, 15, 10, 15, 30, 10):
        assert len(zeros(n)) == n
    # 10 and 15 fit together; 30 is too large to be kept, and all go before it
    assert made == [10, 15, 30, 10]


def keeps(node):
    names = {n.id for d in node.decorator_list for n in ast.walk(d) if isinstance(n, ast.Name)}
    return bool(names & {"cache", "lru_cache", "cached_property"}), "lasting" in names


# functions that keep no tensors, or values that hold only normal ones by themselves
OTHERWISE = {"fingerprint", "_verify", "irreps", "_hierarchy", "at", "where", "levels", "finer"}
OTHERWISE |= {"is_pointwise", "costs", "_counts", "_hash"}
# what the doctor finds in a file is looked at, never computed with
DOCTOR = {"defects.py", "degenerate.py"}


def test_every_cache_in_the_package_makes_lasting_tensors():
    forgotten = []
    for file in (file for file in PACKAGE.rglob("*.py") if file.name not in DOCTOR):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.FunctionDef) and keeps(node) == (True, False):
                forgotten.append(node.name)
    assert set(forgotten) <= OTHERWISE
