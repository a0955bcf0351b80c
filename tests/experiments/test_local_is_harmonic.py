"""Each kernel by itself, further on than tests/nn/test_so3_correlation.py goes with both at once."""

from __future__ import annotations

import pytest
import torch

from geocnn.geometry import healpix
from geocnn.harmonics import field_synthesis, healpix_grid
from tests.example import example

sides = example("local_is_harmonic")
Kernel = sides.Kernel


def test_every_pair_and_kernel_is_there():
    assert len(sides.KERNELS) == 9 + 4
    assert {(k.n, k.m) for k in sides.KERNELS} == {(n, m) for n in range(3) for m in range(3)}


@pytest.mark.parametrize("kernel", [k for k in sides.KERNELS if k.n and k.m], ids=str)
def test_a_kernel_alone_is_linear_or_antilinear(kernel):
    """Of complex numbers: a commutes with i, b anticommutes."""
    layer, targets = sides.layer(kernel), torch.arange(0, 768, 7)
    stencil = healpix(8).stencil(sides.RADIUS, kind="log", targets=targets)
    x = field_synthesis(sides.field(kernel.n), f"1x{kernel.n}", healpix_grid(8))

    def times_i(v):
        return torch.stack([-v[:, 1], v[:, 0]], -1)

    with torch.no_grad():
        y, turned = layer(x, stencil), layer(times_i(x), stencil)
    sign = 1 if kernel.letter == "a" else -1
    assert float(y.norm()) > 0.01
    torch.testing.assert_close(turned, sign * times_i(y), rtol=0, atol=1e-12 * float(y.abs().max()))


@pytest.mark.parametrize("kind", sides.KINDS)
@pytest.mark.parametrize(
    "kernel", [Kernel(0, 1, "a"), Kernel(1, 1, "b"), Kernel(2, 1, "b"), Kernel(2, 2, "a")], ids=str
)
def test_the_difference_falls_with_the_square_of_the_spacing(kernel, kind):
    errors = []
    for nside in (16, 32):
        targets = torch.arange(0, 12 * nside**2, 12 * nside**2 // 100)
        stencil = healpix(nside).stencil(sides.RADIUS, kind=kind, targets=targets)
        errors.append(sides.error(kernel, stencil, nside, targets))
    assert errors[1] < 0.02
    assert sides.order(errors) > 1.6


def test_another_kernel_is_no_twin():
    """The comparison can fail: on a stencil of another radius the two are not one map."""
    targets = torch.arange(0, 12 * 256, 31)
    stencil = healpix(16).stencil(1.3 * sides.RADIUS, kind="log", targets=targets)
    assert sides.error(Kernel(1, 1, "a"), stencil, 16, targets) > 0.05


def test_the_order_is_that_of_a_power():
    assert sides.order([1.0, 0.25, 0.0625]) == pytest.approx(2)
