"""The sphere's closed forms against matrices, known angles, and the point sets' own symmetries."""

from __future__ import annotations

import math

import pytest
import torch

from geocnn.errors import GeometryError
from geocnn.geometry import healpix, icosphere
from geocnn.geometry.spheres.surfaces import great_circle_transport, sphere_frames


def unit(*shape, seed=0):
    v = torch.randn(*shape, 3, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return v / v.norm(dim=-1, keepdim=True)


def test_frames_are_the_derivatives_by_theta_and_phi():
    theta, phi = torch.rand(2, 50, generator=torch.Generator().manual_seed(1), dtype=torch.float64) * 3
    theta, phi = theta.requires_grad_(), phi.requires_grad_()
    p = torch.stack([theta.sin() * phi.cos(), theta.sin() * phi.sin(), theta.cos()], -1)
    frames = sphere_frames(p.detach())
    for axis, angle, length in ((0, theta, 1.0), (1, phi, theta.detach().sin())):
        derivative = [
            torch.autograd.grad(c.sum(), angle, retain_graph=True, allow_unused=True)[0] for c in p.T
        ]
        derivative = torch.stack([torch.zeros(50).double() if d is None else d for d in derivative], -1)
        expected = frames[:, axis] * torch.as_tensor(length).expand(50)[:, None]
        torch.testing.assert_close(derivative, expected, rtol=0, atol=1e-14)


def test_frames_at_the_poles_are_the_limit_along_phi_zero():
    poles = torch.tensor([[0.0, 0.0, 1.0], [0.0, 0.0, -1.0]], dtype=torch.float64)
    near = torch.tensor([[1e-9, 0.0, 1.0], [1e-9, 0.0, -1.0]], dtype=torch.float64)
    torch.testing.assert_close(sphere_frames(poles), sphere_frames(near), rtol=0, atol=1e-8)


def test_transport_is_the_matrix_exponential_of_the_rotation_between_the_points():
    p, q, v = unit(40), unit(40, seed=1), unit(40, seed=2)
    axis = torch.linalg.cross(p, q, dim=-1)
    angle = torch.atan2(axis.norm(dim=-1), (p * q).sum(-1))
    axis = axis / axis.norm(dim=-1, keepdim=True)
    x, y, z = (axis * angle[:, None]).unbind(-1)
    o = torch.zeros_like(x)
    generator = torch.stack([o, -z, y, z, o, -x, -y, x, o], -1).view(-1, 3, 3)
    v = v - (v * p).sum(-1, keepdim=True) * p
    expected = (torch.matrix_exp(generator) @ v[..., None])[..., 0]
    torch.testing.assert_close(great_circle_transport(p, q, v), expected, rtol=0, atol=1e-13)


def test_exp_of_a_quarter_turn_south_from_the_equator_is_the_pole():
    s = healpix(1)
    on_equator = torch.arange(4, 8)
    e = s.exp(on_equator, torch.tensor([[math.pi / 2, 0.0]], dtype=torch.float64).expand(4, 2))
    south = torch.tensor([[0.0, 0.0, -1.0]], dtype=torch.float64).expand(4, 3)
    torch.testing.assert_close(e.points, south, rtol=0, atol=1e-15)


def test_log_is_accurate_for_neighbours_and_next_to_the_antipode():
    p = unit(30)
    v = great_circle_transport(
        torch.tensor([0.0, 0.0, 1.0]).double().expand(30, 3),
        p,
        unit(30, seed=3) * torch.tensor([1.0, 1.0, 0.0]),
    )
    v = v / v.norm(dim=-1, keepdim=True)
    frames = sphere_frames(p)
    s = healpix(1)
    for r in (1e-9, 1e-4, 1.0, math.pi - 1e-6):
        q = math.cos(r) * p + math.sin(r) * v
        base, target = (
            s.placed.take(torch.zeros(30, dtype=torch.int64))._replace(points=x, frames=f)
            for x, f in ((p, frames), (q, sphere_frames(q)))
        )
        l = s._log(base, target)
        assert l.reached.all()
        expected = r * (frames * v[:, None]).sum(-1)
        # rounding of the points, 1e-16, over the sine of the distance turns the direction by as much
        torch.testing.assert_close(l.vectors, expected, rtol=0, atol=1e-15 * r / math.sin(r) * 10)


def test_antipodes_are_not_reached_but_as_far_away_as_can_be():
    s = icosphere(1)
    p = torch.arange(s.n_points)
    opposite = (s.points @ s.points.T).argmin(1)
    l = s.log(p, opposite)
    assert not l.reached.any()
    assert torch.isfinite(l.angle).all()
    torch.testing.assert_close(l.vectors.norm(dim=1), torch.full((42,), math.pi, dtype=torch.float64))


def test_areas_on_healpix_are_equal_and_on_the_icosphere_nearly():
    assert healpix(8).areas.unique().numel() == 1
    a = icosphere(4).areas
    assert 1.0 < float(a.max() / a.min()) < 1.6


def test_nested_and_ring_stencils_are_one_operator_in_two_orders():
    from geocnn.geometry.spheres.pixels import ring_to_nested
    from tests.laws import operator

    at = ring_to_nested(4, torch.arange(192))
    for kind in ("exp", "log"):
        ring = operator(healpix(4).stencil(0.5, kind=kind))
        nested = operator(healpix(4, nested=True).stencil(0.5, kind=kind))
        torch.testing.assert_close(nested[:, :, at][..., at], ring, rtol=0, atol=1e-12)


def test_coarser_keeps_order_and_interpolation():
    s = healpix(4, nested=True, interpolation="cubic").coarser()
    assert (s.grid.nside, s.grid.nested, s.grid.interpolation) == (2, True, "cubic")
    assert icosphere(2).coarser().n_points == 42


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: healpix(3), "power of two"),
        (lambda: healpix(4, interpolation="nearest"), "'bilinear' or 'cubic', got 'nearest'"),
        (lambda: icosphere(-1), "0 to 9, got -1"),
        (lambda: icosphere(1.5), "0 to 9, got 1.5"),
        (lambda: icosphere(0).coarser(), "coarsest icosphere"),
        (lambda: healpix(1).coarser(), "coarsest HEALPix"),
        (lambda: healpix(2).hierarchy(levels=3), "fewer levels"),
        (
            lambda: healpix(2).stencil(3.2, kind="log"),
            "longer than the whole surface, 3.142; give it in radians",
        ),
        (lambda: healpix(2).hierarchy(levels=0), "at least one level, got 0"),
    ],
)
def test_bad_input_is_a_typed_error(call, message):
    with pytest.raises(GeometryError, match=message):
        call()
