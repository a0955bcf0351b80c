"""Transport along two paths gives one kernel exactly if the holonomy between them leaves it unchanged."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from geocnn.errors import GroupError
from geocnn.geometry import (
    holonomy_group,
    icosphere,
    invariant_kernels,
    mesh,
    plane,
    transport,
    transport_coefficients,
    transport_kernel,
)
from geocnn.geometry.loops.cycles import fundamental_cycles
from geocnn.geometry.loops.kernels import Kernel
from geocnn.groups.planar import O2, REFLECTION, SO2, TRIVIAL, compose, cyclic, dihedral
from tests.shapes import cube

G = torch.Generator().manual_seed(0)
VECTORS = torch.randn(40, 2, generator=G, dtype=torch.float64)


def kernel_of(coefficients: Tensor) -> Kernel:
    """Return the kernel Σ_ℓ Re c_ℓ r^ℓ e^{iℓθ}."""

    def kernel(vectors: Tensor) -> Tensor:
        z = torch.view_as_complex(vectors.contiguous())[..., None]
        return (coefficients * z ** torch.arange(len(coefficients))).real.sum(-1)

    return kernel


def element(angle: float, flip: bool | None):
    return torch.tensor(angle, dtype=torch.float64), None if flip is None else torch.tensor(flip)


@pytest.mark.parametrize("flip", [None, False, True])
def test_coefficients_are_carried_as_the_function_is(flip):
    c = torch.randn(5, generator=G, dtype=torch.complex128)
    g = element(0.7, flip)
    torch.testing.assert_close(
        kernel_of(transport_coefficients(c, g))(VECTORS), transport_kernel(kernel_of(c), g)(VECTORS)
    )
    # after the same transport of kernel and vectors, the values are the same
    z = torch.view_as_complex(VECTORS)
    carried = torch.polar(torch.ones(()).double(), g[0]) * (z.conj() if flip else z)
    seen = transport_kernel(kernel_of(c), g)(torch.view_as_real(carried.resolve_conj()))
    torch.testing.assert_close(seen, kernel_of(c)(VECTORS))


@pytest.mark.parametrize("flips", [(None, None), (True, None), (False, True), (True, True)])
def test_carried_by_one_and_then_another_it_is_carried_by_both(flips):
    g, h = element(0.7, flips[0]), element(-1.9, flips[1])
    k = kernel_of(torch.randn(4, generator=G, dtype=torch.complex128))
    twice = transport_kernel(transport_kernel(k, h), g)(VECTORS)
    torch.testing.assert_close(transport_kernel(k, compose(g, h))(VECTORS), twice)


def difference(kernel: Kernel, one, other) -> float:
    """Return the difference between the kernels that two paths to one point give."""
    a, b = transport_kernel(kernel, one)(VECTORS), transport_kernel(kernel, other)(VECTORS)
    return float((a - b).abs().max())


def test_on_the_sphere_only_isotropic_kernels_do_not_depend_on_the_path():
    s = icosphere(2)
    one, other = transport(s, torch.tensor([0, 77, 3])), transport(s, torch.tensor([0, 15, 140, 3]))
    assert difference(lambda v: v.square().sum(-1), one, other) < 1e-12
    for frequency in (1, 2, 5):
        c = torch.zeros(6, dtype=torch.complex128)
        c[frequency] = 1
        assert difference(kernel_of(c), one, other) > 0.1


def test_in_the_plane_every_kernel_is_carried_anywhere():
    s = plane((4, 4))
    one, other = transport(s, torch.tensor([0, 1, 5])), transport(s, torch.tensor([0, 12, 15, 5]))
    assert difference(lambda v: v[..., 0] ** 3 - v[..., 1], one, other) < 1e-12


def test_on_a_cube_exactly_the_kernels_of_fourfold_symmetry_are():
    cycles = fundamental_cycles(mesh(*cube()).face_connection())
    k = int(((cycles.angle.abs() - math.pi / 2).abs() < 1e-9).nonzero()[0, 0])
    there, around = element(0.0, None), (cycles.angle[k], None)
    for frequency in range(9):
        c = torch.zeros(9, dtype=torch.complex128)
        c[frequency] = 1 + 0.5j
        assert (difference(kernel_of(c), there, around) < 1e-9) == (frequency % 4 == 0), frequency


@pytest.mark.parametrize("group", [TRIVIAL, REFLECTION, cyclic(2), cyclic(3), dihedral(4), SO2, O2])
@pytest.mark.parametrize("axis", [0.0, 0.4])
def test_invariant_kernels_are_invariant_and_all_there_are(group, axis):
    found = invariant_kernels(group, rings=2, max_frequency=6, axis=axis)
    vectors = VECTORS / 3
    kernels = found(vectors)
    assert kernels.shape == (40, found.n_kernels)
    # all group elements, mirrored at the axis: z ↦ e^{i(φ + 2·axis)} z̄
    angle, flip = group.sample(20, generator=G)
    for k in range(20):
        mirrored = flip is not None and bool(flip[k])
        g = element(float(angle[k]) + 2 * axis * mirrored, mirrored if flip is not None else None)
        torch.testing.assert_close(transport_kernel(found, g)(vectors), kernels, rtol=0, atol=1e-12)
    # averaged over the group, cos and sin ℓθ span exactly these kernels
    theta = torch.linspace(0, 2 * math.pi, 25, dtype=torch.float64)[:-1]
    circle = torch.stack([theta.cos(), theta.sin()], -1)
    waves = torch.stack([f(l * theta) for l in range(7) for f in (torch.cos, torch.sin)], 1)
    assert torch.linalg.matrix_rank(found(0.25 * circle)[:, ::2]) == len(found.angular.frequency)
    n, step = group.rotations or 24, 24 // math.gcd(24, group.rotations or 24)
    if 24 % n == 0 and axis == 0:
        turned = torch.stack([waves.roll(k * step, 0) for k in range(n)]).mean(0)
        if group.flips:
            turned = 0.5 * (turned + turned.flip(0).roll(1, 0))
        assert int(torch.linalg.matrix_rank(turned, tol=1e-9)) == len(found.angular.frequency)


def test_the_group_and_axis_that_a_surface_has_are_what_they_take():
    found = holonomy_group(mesh(*cube()))
    assert invariant_kernels(found.group, rings=1, max_frequency=8).angular.frequency.tolist() == [
        0,
        4,
        4,
        8,
        8,
    ]


@pytest.mark.parametrize(("rings", "frequency"), [(0, 2), (3, -1)])
def test_no_rings_and_negative_frequencies_are_refused(rings, frequency):
    with pytest.raises(GroupError, match="at least one ring"):
        invariant_kernels(SO2, rings, frequency)
