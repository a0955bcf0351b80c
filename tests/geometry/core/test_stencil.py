"""Stencil as a value: gauge changes, side by side, saved and loaded, cast and copied."""

from __future__ import annotations

import copy
import dataclasses

import pytest
import torch

from geocnn.errors import GeometryError
from geocnn.geometry import Stencil, healpix, icosphere, torus
from geocnn.groups import O2, SO2, cyclic
from tests.laws import operator, random_gauge
from tests.laws_of_stencils import sent
from tests.ops.by_hand import random_stencil

TENSORS = ("row_ptr", "source", "r", "theta", "weight", "angle", "flip")
REST = ("radius", "n_source", "group", "samples")


def assert_same(a: Stencil, b: Stencil) -> None:
    for name in TENSORS:
        x, y = getattr(a, name), getattr(b, name)
        assert (x is None) == (y is None), name
        assert x is None or (x.dtype == y.dtype and torch.equal(x, y)), name
    assert [getattr(a, name) for name in REST] == [getattr(b, name) for name in REST]


@pytest.fixture(params=["exp", "log", "flipped", "by hand"])
def stencil(request) -> Stencil:
    s = healpix(2)
    return {
        "exp": lambda: s.stencil(0.9),
        "log": lambda: s.stencil(0.9, kind="log"),
        "flipped": lambda: s.turn_frames(*random_gauge(48, flips=True)).stencil(0.9),
        "by hand": lambda: random_stencil("D6"),
    }[request.param]()


def test_turning_frames_follows_the_convention():
    """θ' = θ − α_t, angle' = angle + α_s − α_t; with flips of both ends, after them: θ' = α_t − θ
    (ARCHITECTURE.md).
    """
    st = random_stencil("SO2")
    s, t = (random_gauge(n, flips=True, seed=n) for n in (st.n_source, st.n_target))
    plain = st.turn_frames(s[0], None, t[0], None)
    torch.testing.assert_close(plain.theta, st.theta - t[0][st.target])
    torch.testing.assert_close(plain.angle, st.angle + s[0][st.source] - t[0][st.target])
    assert plain.flip is None
    mirrored = st.turn_frames(s[0], torch.ones(7, dtype=torch.bool), t[0], torch.ones(11, dtype=torch.bool))
    torch.testing.assert_close(mirrored.theta, t[0][st.target] - st.theta)
    torch.testing.assert_close(mirrored.angle, -plain.angle)
    assert not mirrored.flip.any()


def test_turning_twice_is_turning_by_the_composition():
    st = random_stencil(O2, n_target=7, n_source=7)
    a, b = random_gauge(7, flips=False, seed=1)[0], random_gauge(7, flips=False, seed=2)[0]
    torch.testing.assert_close(operator(st.turn_frames(a).turn_frames(b)), operator(st.turn_frames(a + b)))
    flip = random_gauge(7, flips=True)[1]
    back = st.turn_frames(a, flip).turn_frames(torch.where(flip, a, -a), flip)
    torch.testing.assert_close(operator(back), operator(st))


def test_the_group_grows_with_the_frames_turns():
    st = torus((4, 4)).stencil(1.5)
    quarter = torch.arange(16) * torch.tensor(torch.pi / 2, dtype=torch.float64)
    assert st.turn_frames(quarter).group == cyclic(4)
    assert st.turn_frames(random_gauge(16, flips=False)[0]).group == SO2
    assert st.turn_frames(quarter, torch.ones(16, dtype=torch.bool)).group.flips


def test_cat_is_side_by_side():
    parts = [
        random_stencil("C4", 5, 3, seed=1),
        random_stencil("D6", 4, 6, seed=2),
        random_stencil("C4", 2, 2, seed=3),
    ]
    joined = operator(Stencil.cat(parts))
    expected = torch.stack(
        [torch.block_diag(*[operator(p)[i, j] for p in parts]) for i in range(8) for j in range(2)]
    )
    torch.testing.assert_close(joined.flatten(0, 1), expected, rtol=0, atol=0)
    assert str(Stencil.cat(parts).group) == "D12"
    assert Stencil.cat(parts).n_source == 11


def test_cat_keeps_the_tightest_bound_on_frequencies():
    a, b = healpix(2).stencil(0.9, samples=(2, 9)), icosphere(1).stencil(0.9, samples=(3, 5))
    log = healpix(2).stencil(0.9, kind="log")
    assert Stencil.cat([a, b]).samples == (2, 5)
    assert Stencil.cat([a, log]).samples == (2, 9)
    assert Stencil.cat([log, log]).samples is None


def test_a_saved_stencil_loads_as_it_was(stencil, tmp_path):
    stencil.save(tmp_path / "s.safetensors")
    assert_same(Stencil.load(tmp_path / "s.safetensors"), stencil)
    assert [p.name for p in tmp_path.iterdir()] == ["s.safetensors"], "a partial file was left behind"


def test_saving_again_replaces_the_file_and_a_failure_leaves_the_old_one(tmp_path, monkeypatch):
    path, old, new = tmp_path / "s.safetensors", random_stencil("C4", seed=1), random_stencil("C4", seed=2)
    old.save(path)

    def full_disk(tensors, filename, metadata):
        filename.write_bytes(b"half")
        raise OSError("no space left on device")

    with monkeypatch.context() as m:
        m.setattr("safetensors.torch.save_file", full_disk)
        with pytest.raises(OSError, match="no space"):
            new.save(path)
    assert_same(Stencil.load(path), old)
    assert [p.name for p in tmp_path.iterdir()] == ["s.safetensors"]
    new.save(path)
    assert_same(Stencil.load(path), new)


@pytest.mark.parametrize("kept", [0, 4, 200, -1])
def test_a_truncated_file_is_a_typed_error(tmp_path, kept):
    path = tmp_path / "s.safetensors"
    random_stencil("SO2").save(path)
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(GeometryError, match="not a whole safetensors file"):
        Stencil.load(path)


def test_a_file_of_something_else_is_a_typed_error(tmp_path):
    from safetensors.torch import save_file

    path = tmp_path / "x.safetensors"
    save_file({"weight": torch.ones(2)}, path)
    with pytest.raises(GeometryError, match="no geocnn value, not a stencil"):
        Stencil.load(path)
    torus((4, 4)).hierarchy(levels=1).save(path)
    with pytest.raises(GeometryError, match="holds hierarchy, not a stencil"):
        Stencil.load(path)


def test_to_casts_floats_only_and_keeps_what_needs_no_change(stencil):
    single = stencil.to(dtype=torch.float32)
    assert {single.r.dtype, single.theta.dtype, single.weight.dtype, single.angle.dtype} == {torch.float32}
    assert single.source.dtype == single.row_ptr.dtype == torch.int64
    stencil.operators["kept"] = 1
    assert (
        stencil.to("cpu") is stencil
        and stencil.to(dtype=torch.float64) is stencil
        and stencil.to() is stencil
    )
    assert stencil.to(dtype=torch.float32).operators == {}
    with pytest.raises(GeometryError, match="floating dtype"):
        stencil.to(dtype=torch.int64)


def test_copies_share_nothing_and_inherit_no_operators(stencil):
    stencil.operators["stale"] = 1
    for other in (copy.deepcopy(stencil), sent(stencil)):
        assert_same(other, stencil)
        assert other.operators == {}
        assert other.r.data_ptr() != stencil.r.data_ptr()
    assert dataclasses.replace(stencil, weight=2 * stencil.weight).operators == {}


def test_bad_input_is_a_typed_error():
    st = random_stencil("SO2")
    with pytest.raises(GeometryError, match="from 7 to 11 points: give target_alpha"):
        st.turn_frames(torch.zeros(7))
    with pytest.raises(GeometryError, match=r"source point is required, 7 in all, got \[6\] angles"):
        st.turn_frames(torch.zeros(6), None, torch.zeros(11), None)
    with pytest.raises(GeometryError, match=r"target point is required, 11 in all, .* \[3\] flips"):
        st.turn_frames(torch.zeros(7), None, torch.zeros(11), torch.zeros(3, dtype=torch.bool))
    with pytest.raises(GeometryError, match="at least one stencil"):
        Stencil.cat([])
    with pytest.raises(GeometryError, match=r"radii \[0.5, 0.6\]"):
        Stencil.cat([healpix(2).stencil(0.5), healpix(2).stencil(0.6)])
