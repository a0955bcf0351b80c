"""A gauge convolution on the plane is the ordinary one of images: the trivial group's, and C4's and D4's."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

import geocnn.geometry as geometry
from geocnn.groups import FieldType, group, intertwiners, permutation_matrices, product_table
from geocnn.nn import GaugeConv, GroupConv, taps
from tests.nn.planes import F64, randn

SHAPE = (11, 14)


def on_plane(layer, images, radius, kind, samples):
    """The layer on images [B, C, h, w] as on any surface."""
    stencil = geometry.plane(SHAPE).stencil(radius, kind, samples)
    return layer(images.flatten(2).mT, stencil).mT.unflatten(2, SHAPE)


def biased(layer: GaugeConv) -> GaugeConv:
    torch.nn.init.normal_(layer.bias)
    return layer.to(F64)


@pytest.mark.parametrize("radius", [1.2, 2.0, 3.2])
@pytest.mark.parametrize(("kind", "samples"), [("log", None), ("exp", None), ("exp", (4, 24))], ids=str)
def test_for_the_trivial_group_it_is_conv2d(radius, kind, samples):
    torch.manual_seed(0)
    layer, x = biased(GaugeConv("trivial: 3x0", "trivial: 4x0", max_frequency=2)), randn(2, 3, *SHAPE)
    weight = taps(layer, radius, kind, samples)
    reach = weight.shape[-1] // 2
    y = F.conv2d(x, weight, layer.bias, padding=reach)
    found = on_plane(layer, x, radius, kind, samples)
    inner = slice(None) if kind == "log" else slice(reach, -reach)
    torch.testing.assert_close(found[..., inner, inner], y[..., inner, inner], rtol=0, atol=1e-13)
    assert weight.shape == (4, 3, 2 * reach + 1, 2 * reach + 1)
    assert weight.abs().amax((0, 1)).count_nonzero() > 4  # not one pixel alone


@pytest.mark.parametrize("name", ["C4", "D4"])
@pytest.mark.parametrize(("kind", "samples"), [("log", None), ("exp", (3, 16))], ids=str)
def test_with_regular_fields_it_is_the_group_convolution(name, kind, samples):
    torch.manual_seed(0)
    g = group(name)
    irreps, order = FieldType.regular(g), len(product_table(g))
    layer, x = biased(GaugeConv(irreps, irreps, max_frequency=2)), randn(2, 1, order, *SHAPE)
    weight = taps(layer, 2.0, kind, samples)
    # an orthogonal map from functions on the group to irreps: the polar factor of any invertible intertwiner
    bases = intertwiners(permutation_matrices(product_table(g)), irreps.rho(*g.elements()))
    u, _, vh = torch.linalg.svd(torch.einsum("k,kij->ij", randn(len(bases)), bases))
    fourier = u @ vh
    kernels = torch.einsum("og,oipq,ih->ghpq", fourier, weight, fourier)
    conv = GroupConv(name, 1, 1, 5).to(F64)
    conv.weight.data = kernels[0].flatten(1)[None, None]  # what the identity's image sees of all
    conv.bias.data = fourier[0, :1] * layer.bias  # the invariant irrep, evenly over the group
    torch.testing.assert_close(conv.taps(), kernels, rtol=0, atol=1e-13)
    by_irreps = torch.einsum("bghw,ig->bihw", x[:, 0], fourier)
    found = torch.einsum("bihw,ig->bghw", on_plane(layer, by_irreps, 2.0, kind, samples), fourier)
    inner = slice(None) if kind == "log" else slice(2, -2)
    expected = conv(x)[:, 0]
    torch.testing.assert_close(found[..., inner, inner], expected[..., inner, inner], rtol=0, atol=1e-12)


def test_gradients_reach_the_weights_and_the_dtype_is_the_layers():
    layer = GaugeConv("1x0", "2x0 + 1x1")
    weight = taps(layer, 2.0)
    assert weight.dtype == torch.float32
    weight.square().sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in layer.weight.values())


def test_an_isotropic_kernel_has_isotropic_taps():
    weight = taps(GaugeConv("1x0", "1x0").to(F64), 2.5, "log")
    for g in range(1, 4):
        torch.testing.assert_close(weight.rot90(g, (2, 3)), weight, rtol=0, atol=1e-14)
