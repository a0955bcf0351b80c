"""Whole networks on triangle meshes: frames, motions, the order of vertices, batches of unlike meshes."""

from __future__ import annotations

import pytest
import torch

from geocnn.geometry import Hierarchy, Mesh, mesh
from geocnn.geometry.meshes.descriptors import shape_features
from geocnn.groups.rotations import random_rotations
from geocnn.nn import SurfaceEncoder, SurfaceUNet
from tests.laws import random_gauge
from tests.nn.gauge import assert_gauge_equivariant
from tests.shapes import beside, jittered_sphere, ring, sheet, without

FEATURES = "11x0 + 5x1 + 1x2"
WIDTHS = ["4x0 + 2x1", "4x0 + 2x1 + 1x2", "4x0 + 2x1"]


def cap():
    """A sphere without its southern part, whose vertices stay behind without faces."""
    vertices, faces = jittered_sphere(300)
    return without((vertices, faces), vertices[:, 2] < -0.4)


MESHES = {
    "irregular": lambda: mesh(*jittered_sphere(300)),
    "bounded": lambda: mesh(*cap()),
    "components": lambda: mesh(*beside(jittered_sphere(150), ring(20, 10, 0.1), sheet(7, 7, 0.2))),
}


def hierarchy(levels: list[Mesh], kind: str) -> Hierarchy:
    radius = [2.5 * s.spacing for s in levels]
    samples = (2, 9) if kind == "exp" else None
    pairs = list(zip(levels, levels[1:], radius, strict=False))
    return Hierarchy(
        [s.stencil(r, kind=kind, samples=samples) for s, r in zip(levels, radius, strict=True)],
        [s.stencil(r, kind=kind, samples=samples, targets=t) for s, t, r in pairs],
        [t.interpolation(s) for s, t, _ in pairs],
        [s.areas for s in levels],
        [torch.tensor([0, s.n_points]) for s in levels],
    )


def levels_of(surface: Mesh) -> list[Mesh]:
    levels = [surface]
    for _ in range(2):
        levels.append(levels[-1].coarser())
    return levels


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("kind", ["exp", "log"])
@pytest.mark.parametrize("name", MESHES)
def test_random_frames_change_neither_answers_nor_weight_gradients(name, kind, dtype):
    levels = levels_of(MESHES[name]())
    gauges = [random_gauge(s.n_points, False, seed=i) for i, s in enumerate(levels)]
    # the geometry is computed anew in the turned frames
    new = [s.turn_frames(*g) for s, g in zip(levels, gauges, strict=True)]
    h, turned = (hierarchy(each, kind).to(dtype=dtype) for each in (levels, new))
    x = torch.randn(levels[0].n_points, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    torch.manual_seed(0)
    unet = SurfaceUNet("2x0 + 1x1", WIDTHS, "2x0 + 1x1", rings=2).to(dtype)
    encoder = SurfaceEncoder("2x0 + 1x1", WIDTHS, 3, rings=2).to(dtype).eval()
    for model, out_type in ((unet, unet.out_type), (encoder, encoder.head[0].in_type)):
        assert_gauge_equivariant(
            model,
            x.to(dtype),
            model.in_type,
            out_type,
            lambda v, model=model: model(v, h),
            lambda v, model=model: model(v, turned),
            gauges[0],
            gauges[0],
        )


def answers(vertices, faces, model) -> torch.Tensor:
    s = mesh(vertices, faces)
    x, field_type = shape_features(s)
    assert str(field_type) == FEATURES
    return model(x, s.hierarchy(levels=3, kind="log"))


@pytest.mark.parametrize("moved", ["turned", "scaled", "relabelled", "faces in another order"])
def test_an_answer_belongs_to_a_point_of_the_shape(moved):
    vertices, faces = jittered_sphere(300)
    # unlike axes: on a round sphere the modes of the Laplacian are not determined, nor the farthest points
    vertices = vertices * torch.tensor([1.0, 1.3, 1.7], dtype=torch.float64)
    torch.manual_seed(0)
    model = SurfaceUNet(FEATURES, WIDTHS, "3x0", rings=2).double().eval()
    before = answers(vertices, faces, model)
    order = torch.randperm(300, generator=torch.Generator().manual_seed(1))
    same = torch.arange(300)
    if moved == "turned":
        turn = random_rotations(1, torch.Generator().manual_seed(2))[0]
        vertices = vertices @ turn.T + 5.0
    elif moved == "scaled":
        vertices = 1000 * vertices
    elif moved == "relabelled":
        vertices, faces, same = vertices[order], torch.argsort(order)[faces], order
    else:
        faces = faces[torch.randperm(len(faces), generator=torch.Generator().manual_seed(1))].roll(1, 1)
    after = answers(vertices, faces, model)
    # logs are exact to rounding; eigenvectors of the Laplacian are found to 1e-12 or so
    assert (after - before[same]).abs().max() < 1e-6 * before.abs().max()


def test_sixteen_meshes_in_a_batch_are_the_sixteen_alone():
    parts = [mesh(*jittered_sphere(100 + 12 * k, seed=k)) for k in range(15)]
    parts.append(mesh(*beside(jittered_sphere(90), ring(14, 8, 0.1))))
    hierarchies = [s.hierarchy(levels=3, radius=0.6, kind="log") for s in parts]
    xs = [torch.randn(s.n_points, 4, dtype=torch.float64) for s in parts]
    torch.manual_seed(0)
    model = SurfaceUNet("2x0 + 1x1", WIDTHS, "5x0", rings=2).double()
    batch = Hierarchy.cat(hierarchies)
    model(torch.cat(xs), batch)  # in training: running moments that are no longer 0 and 1
    together = model.eval()(torch.cat(xs), batch)
    alone = torch.cat([model(x, h) for x, h in zip(xs, hierarchies, strict=True)])
    # sums over sources in another order, as tiles of targets are cut elsewhere
    torch.testing.assert_close(together, alone, rtol=1e-11, atol=1e-11)
