"""Values that stand for no value are found by their exact number in every type that holds it."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from geocnn.errors import BadValueError
from geocnn.geometry.core.values import (
    FILLS,
    UNSEEN,
    check_batch,
    check_values,
    find_bad,
    named_fills,
    tensors,
)

BAD = {"NaN": math.nan, "infinite": math.inf, **FILLS}
SHARED = [torch.float64, torch.float32, torch.bfloat16]


@pytest.mark.parametrize("dtype", SHARED)
@pytest.mark.parametrize("name", BAD)
def test_every_bad_value_is_found_where_it_stands(name, dtype):
    values = torch.zeros(4, 5, dtype=dtype)
    values[1, 3] = torch.tensor(BAD[name], dtype=torch.float64).to(dtype)
    found, where = find_bad(values)
    assert where.nonzero().tolist() == [[1, 3]]
    # what a type cannot hold became infinity on its way here
    assert found == (name if bool(values.isfinite().all()) else found) and found in (name, "infinite")


@pytest.mark.parametrize("name", FILLS)
def test_a_fill_that_went_through_float32_is_found_in_float64(name):
    value = torch.tensor(FILLS[name], dtype=torch.float64).float().double()
    assert find_bad(torch.stack([torch.zeros_like(value), value])) is not None


def test_the_fills_are_those_of_the_libraries_that_write_them():
    assert FILLS["UNSEEN (-1.6375e30)"] == pytest.importorskip("healpy").UNSEEN == UNSEEN
    # NC_FILL_FLOAT and NC_FILL_DOUBLE of netcdf.h are one number, which float32 holds exactly
    assert float(np.float32(FILLS["the fill value 9.96921e36 of netCDF"])) == 9.9692099683868690e36


def test_large_numbers_next_to_a_fill_are_data():
    for fill in (1e20, UNSEEN, 9.969209968386869e36):
        beside = [math.nextafter(float(np.float32(fill)), math.inf), 1.001 * fill, -fill]
        assert find_bad(torch.tensor(beside, dtype=torch.float64)) is None


def test_a_fill_of_ones_own():
    values = torch.tensor([[1.0, -9999.0, 2.0], [3.0, 4.0, 5.0]])
    check_values(values)
    for fill in (-9999, [-9999.0], np.float32(-9999), torch.tensor(-9999), {"missing": -9999}):
        with pytest.raises(BadValueError, match=r"1 of 3 pixels are .*, first at \[1\]"):
            check_values(values, fill=fill)
    with pytest.raises(BadValueError, match=r"1 of 2 rows are missing, first at \[0\]"):
        check_values(values, 0, "rows", {"missing": -9999})
    with pytest.raises(BadValueError, match="-9999"):
        check_values(torch.tensor([7, -9999]), fill=-9999)
    # neither 0.1 nor its neighbour in float32 is a whole number
    with pytest.raises(BadValueError):
        check_values(torch.tensor([0.1, 1.0]), fill=0.1)
    assert list(named_fills(())) == []


def test_complex_empty_and_scalar_values():
    assert find_bad(torch.zeros(0)) is None
    assert find_bad(torch.tensor([True, False])) is None
    assert find_bad(torch.tensor([0j, complex(0, math.nan)]))[1].tolist() == [False, True]
    with pytest.raises(BadValueError, match="1 of 1"):
        check_values(torch.tensor(1e20))


def test_a_batch_of_any_form_is_looked_through():
    bad = torch.zeros(2, 7, 1)
    bad[1, 4] = 1e20
    check_batch((torch.zeros(2, 7, 1), torch.tensor([1, 2]), {"more": [torch.ones(1)], "name": "a"}))
    with pytest.raises(BadValueError, match=r"batch\[0\] \[2, 7, 1\] are .*1e20.*\[\[1, 4, 0\]\]"):
        check_batch((bad, torch.tensor([1, 2])))
    with pytest.raises(BadValueError, match=r"batch\['field'\]\[1\]"):
        check_batch({"field": [torch.ones(3), bad]})
    assert [name for name, _ in tensors(bad)] == ["batch"]


def test_the_look_reads_nothing_on_another_device_unless_told():
    check_batch(torch.full((3,), math.nan, device="meta"))
    with torch.device("meta"):  # a tensor made there would have no value
        assert find_bad(torch.tensor([1e20], device="cpu")) is not None
