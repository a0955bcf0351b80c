"""What people write first, from habits of other libraries: it works, or the message says what to write."""

import numpy as np
import pytest
import torch

import geocnn.geometry as geometry
from geocnn.errors import FieldTypeError, GeometryError, MapError
from geocnn.groups import FieldType, Irrep
from geocnn.harmonics import analysis, gauss_legendre, synthesis
from geocnn.nn import FieldLinear, FieldNorm, Gated, GaugeConv, SO3Correlation, SurfaceEncoder

SPHERE = geometry.healpix(2)
STENCIL = SPHERE.stencil(1.2).float()
GRID = gauss_legendre(6)
BALL = geometry.icosphere(1)
MESH = geometry.mesh(BALL.points, BALL.grid.solid.faces[-1])
CONV = GaugeConv("1x0", "4x0")
X, ARRAY = torch.ones(48, 1), np.ones((48, 1), np.float32)

REFUSED = {
    "channels as numbers": (lambda: GaugeConv(3, 16), r"got 3 \(int\); 3 scalar channels are '3x0'"),
    "a number as type": (lambda: FieldType(16), r"a text such as '16x0 \+ 8x1'.* are '16x0'"),
    "no type": (lambda: Gated(None), r"got None \(NoneType\)"),
    "types in a list": (lambda: FieldLinear(["1x0"], "2x0"), r"got \['1x0'\] \(list\)"),
    "rings as text": (lambda: GaugeConv("1x0", "1x0", rings="3"), "a whole number, got rings='3'"),
    "array": (lambda: CONV(ARRAY, STENCIL), "got a ndarray; give torch.as_tensor"),
    "array, pointwise": (lambda: FieldLinear("1x0", "2x0")(ARRAY), "got a ndarray; give torch.as_tensor"),
    "array, harmonic": (lambda: SO3Correlation("1x0", "1x0", 3)(ARRAY, GRID), "got a ndarray"),
    "surface for stencil": (lambda: CONV(X, SPHERE), r"got a Sphere; of a surface give surface.stencil"),
    "mesh for stencil": (lambda: CONV(X, MESH), r"got a Mesh; of a surface give surface.stencil"),
    "hierarchy": (lambda: CONV(X, SPHERE.hierarchy(levels=1)), r"give one of its stencils"),
    "radius for stencil": (lambda: CONV(X, 0.3), r"got a float; surfaces make them"),
    "no stencil": (lambda: torch.nn.Sequential(CONV)(X), "Sequential hands on x alone"),
    "channels first": (lambda: CONV(X.mT, STENCIL), "channels come last: give x.mT"),
    "no channels": (lambda: CONV(X[:, 0], STENCIL), r"added by x.unsqueeze\(-1\)"),
    "stencil for grid": (lambda: SO3Correlation("1x0", "1x0", 3)(X, STENCIL), "RingGrid, got a Stencil"),
    "surface for grid": (lambda: analysis(X[:, 0], SPHERE, 3), "RingGrid, got a Sphere; make one by"),
    "array of values": (lambda: analysis(ARRAY[:, 0], GRID, 3), "a torch.Tensor, got a ndarray"),
    "array of coefficients": (lambda: synthesis(np.zeros((4, 4), complex), GRID), "alm is a ndarray"),
    "stencil for hierarchy": (lambda: SurfaceEncoder("1x0", ["1x0"], 2)(X, STENCIL), "got a Stencil"),
    "one id": (lambda: MESH.exp(0, [0.1, 0.0]), r"list of point ids, got the number 0: write \[0\]"),
    "one target": (lambda: MESH.stencil(0.6, targets=5), r"got the number 5: write \[5\]"),
    "ids of a log": (lambda: MESH.log(0, 5), r"base must be .* got the number 0: write \[0\]"),
    "one id of a disc": (lambda: MESH.disc(1.0, np.int64(3)), r"write \[3\]"),
    "a path of one": (lambda: geometry.transport(MESH, 3), r"path must be .* write \[3\]"),
    "mask": (lambda: MESH.stencil(0.6, targets=torch.ones(42).bool()), r"give mask.nonzero\(\)\[:, 0\]"),
    "fractions": (lambda: MESH.log([0.5], [1.0]), r"whole numbers \(int64\), got torch.float32"),
    "names": (lambda: MESH.log(["a"], ["b"]), "base must be point ids, whole numbers"),
    "levels": (lambda: SPHERE.hierarchy(levels=2.5), "whole number, at least one, got 2.5"),
    "one angle for all": (lambda: SPHERE.turn_frames(0.1), r"48 in all, got \[\] angles"),
    "irrep as number": (lambda: FieldType("1x0").multiplicity(0), "write its frequency as a text: '1'"),
    "irrep of another group": (lambda: FieldType("1x0").multiplicity("0e"), "no parity in SO2: write 0"),
    "irrep without parity": (lambda: FieldType("O2: 1x0e").multiplicity("0"), "write 0e or"),
    "dtype": (lambda: STENCIL.to(torch.int32), "floating dtype, got torch.int32"),
}


@pytest.mark.parametrize(("call", "message"), REFUSED.values(), ids=REFUSED)
def test_the_message_says_what_to_write(call, message):
    with pytest.raises((FieldTypeError, GeometryError, MapError), match=message):
        call()


def test_ids_and_numbers_may_be_lists_and_arrays():
    chosen = SPHERE.stencil(1.2, targets=torch.tensor([3, 1, 2]))
    for given in ([3, 1, 2], np.array([3, 1, 2], np.int32), (3, 1, 2)):
        assert torch.equal(SPHERE.stencil(1.2, targets=given).source, chosen.source)
    end = MESH.exp([0], [[0.1, 0.2]])
    assert torch.equal(
        end.points, MESH.exp(torch.tensor([0]), torch.tensor([[0.1, 0.2]]).double()).points
    ) is (False)  # a list is read in float64, where 0.1 is nearer to 0.1
    assert torch.equal(end.points, MESH.exp(np.array([0]), np.array([[0.1, 0.2]])).points) and torch.equal(
        MESH.disc(0.6, [0]).source, MESH.disc(0.6, torch.tensor([0])).source
    )
    path = MESH.faces[0]
    assert torch.equal(geometry.holonomy(MESH, path.tolist())[0], geometry.holonomy(MESH, path)[0])


def test_a_mesh_has_vertices_and_a_length():
    assert torch.equal(MESH.vertices, MESH.points) and len(MESH) == 42 and len(SPHERE) == 48
    assert len(MESH.coarser().vertices) == 42 and len(MESH.coarser()) == 10
    t = torch.arange(8) * (torch.pi / 4)
    edge = torch.stack([t.cos(), t.sin(), 0 * t], 1)
    rise = torch.stack([(t / 2).cos() * t.cos(), (t / 2).cos() * t.sin(), (t / 2).sin()], 1) / 4
    quads = [(k, k + 1, 8 + k + 1, 8 + k) for k in range(7)] + [(7, 8, 0, 15)]
    strip = geometry.mesh(
        torch.cat([edge - rise, edge + rise]), [f for a, b, c, d in quads for f in ((a, b, c), (a, c, d))]
    )
    assert isinstance(strip, geometry.OneSidedMesh) and torch.equal(strip.vertices, strip.points)


def test_stencils_and_hierarchies_move_as_modules_do():
    st, h = SPHERE.stencil(1.2), SPHERE.hierarchy(levels=2)
    assert (
        st.to(torch.float32).r.dtype == st.float().r.dtype == st.to(torch.zeros(1)).r.dtype == torch.float32
    )
    assert st.float().double().r.dtype == torch.float64 and st.cpu() is st
    assert h.float().areas[1].dtype == h.to(torch.float32).up[0].r.dtype == torch.float32


@pytest.mark.parametrize(
    "surface", [SPHERE, BALL, MESH, MESH.coarser(), geometry.torus((4, 4)), geometry.projective_plane(2)]
)
def test_surfaces_move_with_all_they_have(surface):
    there = surface.to("meta")
    held = [there.points, there.axes, there.areas, there.anchor]
    held += [t for part in vars(there).values() for t in vars(part).values()] if there is MESH else []
    assert all(t.device.type == "meta" for t in held if isinstance(t, torch.Tensor))
    assert surface.to("cpu") is surface and type(there) is type(surface)


def test_types_compare_with_their_texts():
    t = FieldType("16x0 + 8x1 + 2x0")
    assert t == "16x0 + 8x1 + 2x0" and t == " 16x0+8x1 +2x0" and "16x0 + 8x1 + 2x0" == t
    assert t != "18x0 + 8x1" and t != "no type" and t != 3 and FieldType("O2: 2x0e") == "O2: 2x0e"
    assert t.multiplicity("0") == t.multiplicity(Irrep(0)) == 18 and t.multiplicity("2") == 0
    assert "1" in t and Irrep(1) in t and "3" not in t
    assert "2x1" + t == "2x1 + 16x0 + 8x1 + 2x0" and t + "2x1" == "16x0 + 8x1 + 2x0 + 2x1"
    x = torch.arange(34.0)[None]
    assert torch.equal(t.select(x, "0"), t.select(x, Irrep(0))) and t.is_invariant("0")


@pytest.mark.parametrize("dtype", [torch.int64, torch.bool])
def test_whole_numbers_are_no_features(dtype):
    """A norm of integers would cut its answer to whole numbers."""
    with pytest.raises(FieldTypeError, match=r"x.float\(\)"):
        FieldNorm("1x0")(torch.ones(4, 1, dtype=dtype))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"dropout": float("nan")}, "dropout must be a probability"),
        ({"dropout": 1.0}, "dropout must be a probability"),
        ({"convs": [-1, 0]}, "convs must be whole numbers"),
        ({"convs": 1}, "convs needs one number per width, 2 in all"),
        ({"n_out": -1}, "n_out must be a whole number"),
        ({"max_frequency": 1.5}, "max_frequency must be a whole number"),
    ],
)
def test_a_network_of_meaningless_numbers_is_not_built(options, message):
    with pytest.raises(FieldTypeError, match=message):
        SurfaceEncoder("1x0", ["4x0", "4x0"], **{"n_out": 3} | options)


@pytest.mark.parametrize("x", [[[0.0]] * 48, torch.zeros(48)])
def test_a_network_refuses_what_is_no_field(x):
    hierarchy = geometry.healpix(2).hierarchy(levels=1).to(dtype=torch.float32)
    with pytest.raises(FieldTypeError, match=r"torch.Tensor|\[..., points, 1\]"):
        SurfaceEncoder("1x0", ["4x0"], 3)(x, hierarchy)
