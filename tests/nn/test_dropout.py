"""FieldDropout: whole copies, so that frames do not matter."""

from __future__ import annotations

import pytest
import torch

from geocnn.errors import FieldTypeError
from geocnn.nn import FieldDropout
from tests.nn.gauge import act, gauge_of, relative

TEXT = "O2: 3x0e + 2x0o + 2x1 + 1x0e"


def test_components_of_a_copy_share_their_fate_and_the_mean_is_kept():
    torch.manual_seed(0)
    y = FieldDropout("1x0 + 3x1", p=0.25)(torch.ones(40, 250, 7))
    vectors = y[..., 1:].unflatten(-1, (2, 3))
    assert torch.equal(vectors[..., 0, :], vectors[..., 1, :])
    assert set(y.unique().tolist()) == {0.0, torch.tensor(1 / 0.75).item()}
    # 40 000 copies: σ of the kept share is 0.002
    kept = torch.cat([y[..., :1], vectors[..., 0, :]], -1) > 0
    assert abs(float(kept.float().mean()) - 0.75) < 0.01
    # copies, points and items of a batch are dropped independently
    for part in (kept[..., 0], kept[..., 3], kept[0], kept[:, 0]):
        assert 0.6 < float(part.float().mean()) < 0.9


def test_with_the_same_draw_frames_do_not_matter():
    dropout = FieldDropout(TEXT, p=0.5)
    gauge, x = gauge_of(60, dropout.in_type), torch.randn(2, 60, 10, dtype=torch.float64)
    torch.manual_seed(1)
    y = dropout(x)
    torch.manual_seed(1)
    turned = dropout(act(dropout.in_type, x, gauge))
    # a rotation by cosine and sine: a few roundings
    assert relative(turned, act(dropout.out_type, y, gauge)) < 1e-14


def test_evaluation_and_p_0_change_nothing():
    x = torch.randn(5, 4)
    assert torch.equal(FieldDropout("2x0 + 1x1", p=0.9).eval()(x), x)
    assert torch.equal(FieldDropout("2x0 + 1x1", p=0.0)(x), x)


def test_misuse_is_a_typed_error():
    for p in (-0.1, 1.0, float("nan")):
        with pytest.raises(FieldTypeError, match="probability"):
            FieldDropout("1x0", p)
    with pytest.raises(FieldTypeError, match=r"\[..., points, 3\], got \[5, 4\]"):
        FieldDropout("1x0 + 1x1", 0.0)(torch.zeros(5, 4))
