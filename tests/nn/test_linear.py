"""FieldLinear: every equivariant linear map of a point's features, and no other."""

from __future__ import annotations

import pytest
import torch

from geocnn.errors import FieldTypeError
from geocnn.nn import FieldLinear
from tests.nn.gauge import assert_gauge_equivariant, gauge_of

TYPES = [
    ("2x0 + 3x1 + 1x2", "1x1 + 3x0 + 2x2"),
    ("1x1 + 2x0 + 2x1", "2x1 + 1x0 + 1x1 + 1x0"),
    ("2x0 + 1x1", "1x0 + 2x3 + 2x1"),
    ("O2: 2x0e + 1x0o + 2x1", "O2: 1x0o + 2x1 + 3x0e"),
    ("C4: 2x0 + 2x1 + 1x2", "C4: 1x2 + 2x1 + 1x0"),
    ("C3: 1x0 + 2x1", "C3: 2x0 + 1x1"),
    ("D4: 1x0e + 2x2o + 2x1 + 1x0o", "D4: 2x1 + 1x2o + 1x2e + 2x0o"),
    ("reflection: 2x0e + 2x0o", "reflection: 1x0o + 3x0e"),
    ("trivial: 3x0", "trivial: 2x0"),
]


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize(("source", "target"), TYPES)
def test_frames_do_not_matter(source, target, dtype):
    layer = FieldLinear(source, target).to(dtype)
    if layer.bias is not None:
        torch.nn.init.normal_(layer.bias)
    gauge = gauge_of(60, layer.in_type)
    x = torch.randn(2, 60, layer.in_type.dim, generator=torch.Generator().manual_seed(0), dtype=dtype)
    assert_gauge_equivariant(layer, x, layer.in_type, layer.out_type, layer, layer, gauge, gauge)


@pytest.mark.parametrize(("source", "target"), TYPES)
def test_its_weights_span_all_maps_that_commute_with_the_group(source, target):
    """The null space of A ↦ rho_out(g) A − A rho_in(g), for random g, has a weight for each dimension; and
    the layer's derivative by its weights has full rank.
    """
    layer = FieldLinear(source, target, bias=False).double()
    d_in, d_out = layer.in_type.dim, layer.out_type.dim
    angle, flip = gauge_of(8, layer.in_type)
    before, after = (t.rho(angle, flip) for t in (layer.in_type, layer.out_type))
    eye_in, eye_out = torch.eye(d_in, dtype=torch.float64), torch.eye(d_out, dtype=torch.float64)
    constraint = [
        torch.kron(a, eye_in) - torch.kron(eye_out, b.mT.contiguous())
        for a, b in zip(after, before, strict=True)
    ]
    commuting = d_in * d_out - int(torch.linalg.matrix_rank(torch.cat(constraint)))
    names = [name for name, _ in layer.named_parameters()]

    def matrix(*weights: torch.Tensor) -> torch.Tensor:
        return torch.func.functional_call(layer, dict(zip(names, weights, strict=True)), (eye_in,))

    derivative = torch.autograd.functional.jacobian(matrix, tuple(layer.parameters()))
    by_weight = torch.cat([d.flatten(2) for d in derivative], -1).flatten(0, 1)
    assert by_weight.shape[1] == commuting
    assert int(torch.linalg.matrix_rank(by_weight)) == commuting


def test_a_weight_a_plus_ib_multiplies_as_complex_numbers_do():
    layer = FieldLinear("2x1", "3x1").double()
    x = torch.randn(5, 4, dtype=torch.float64)
    a, b = layer.weight["1"]
    expected = torch.complex(*x.unflatten(1, (2, 2)).unbind(1)) @ torch.complex(a, b)
    torch.testing.assert_close(layer(x), torch.cat([expected.real, expected.imag], 1))


def test_the_bias_is_added_to_invariants_and_an_irrep_the_input_lacks_is_zero():
    layer = FieldLinear("O2: 1x0o + 1x1", "O2: 1x0o + 2x0e + 1x1 + 1x2")
    torch.nn.init.constant_(layer.bias, 2.0)
    assert layer(torch.zeros(1, 3))[0].tolist() == [0.0, 2.0, 2.0, 0.0, 0.0, 0.0, 0.0]
    assert layer(torch.ones(1, 3))[0, [1, 2, 5, 6]].tolist() == [2.0, 2.0, 0.0, 0.0]
    assert FieldLinear("1x0 + 1x1", "1x1").bias is None
    assert FieldLinear("1x0", "1x0", bias=False).bias is None


def test_white_noise_keeps_its_variance():
    torch.manual_seed(0)
    layer = FieldLinear("8x0 + 4x1", "500x0 + 500x1")
    y = layer(torch.randn(1000, 16)).detach()
    # the mean over 8 · 500 and 2 · 4 · 500 weights: 1 ± √(2/4000)
    assert abs(float(y[:, :500].square().mean()) - 1) < 0.1
    assert abs(float(y[:, 500:].square().mean()) - 1) < 0.1


def test_misuse_is_a_typed_error():
    with pytest.raises(FieldTypeError, match="different groups"):
        FieldLinear("1x0", "O2: 1x0e")
    with pytest.raises(FieldTypeError, match="2x0 and 3x1 share no irrep"):
        FieldLinear("2x0", "3x1")
    with pytest.raises(FieldTypeError, match=r"\[..., points, 3\], got \[5, 4\]"):
        FieldLinear("1x0 + 1x1", "1x0")(torch.zeros(5, 4))
