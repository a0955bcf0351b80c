"""Missing values are NaN, infinity, or the numbers that files hold where nothing was observed.

They are refused where values enter: by readers, data sets, `predict`, and in the batches of a training.
Layers do not check, for each check makes a GPU synchronise.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from jaxtyping import Bool, Float, Num, Shaped
from torch import Tensor

from geocnn.errors import BadValueError

UNSEEN = -1.6375e30  # healpy and the HEALPix FITS convention write this value where nothing was observed

Fill = float | Sequence[float] | Mapping[str, float]
"""Numbers that mean "missing" in a user's data; a mapping gives them names."""

FILLS = {
    "UNSEEN (-1.6375e30)": UNSEEN,
    "the fill value 1e20 of climate models": 1e20,  # CMIP
    "the fill value 9.96921e36 of netCDF": 9.9692099683868690e36,  # NC_FILL_FLOAT and NC_FILL_DOUBLE
    "the fill value 9.999e20 of GRIB": 9.999e20,
    "the fill value -1e34 of Ferret": -1e34,
    "the largest number of float32": torch.finfo(torch.float32).max,
    "the least number of float32": torch.finfo(torch.float32).min,
    "the largest number of float64": torch.finfo(torch.float64).max,
    "the least number of float64": torch.finfo(torch.float64).min,
}
"""These are recognised by their exact value. Numbers that real data may hold, such as -9999, are not among
them: name those by `fill`.
"""

LARGE = 1e19  # below the size of every known fill


def find_bad(values: Shaped[Tensor, "*shape"], fill: Fill = ()) -> tuple[str, Bool[Tensor, "*shape"]] | None:
    """Return the name of the first kind of missing value in a tensor, and a mask of its places; or None.

    A fill value is recognised by its exact value, also after it was rounded to float32.

    >>> name, where = find_bad(torch.tensor([1.0, 1e20, -9999.0]))
    >>> name, where.tolist()
    ('the fill value 1e20 of climate models', [False, True, False])
    >>> find_bad(torch.tensor([1.0, -9999.0]), fill=-9999)[0]
    'the fill value -9999'
    """
    parts = torch.view_as_real(values.resolve_conj()) if values.is_complex() else values
    for name, bad in _kinds(parts.detach(), named_fills(fill)):
        if bool(bad.any()):
            return name, bad.any(-1) if values.is_complex() else bad
    return None


def check_values(
    values: Shaped[Tensor, "*shape"], dim: int = -1, unit: str = "pixels", fill: Fill = ()
) -> None:
    """Raise BadValueError where values are NaN, infinite, a known fill value, or one of `fill`.

    The message lists the places along `dim`, which it calls `unit`.

    >>> check_values(torch.zeros(3, 192))
    """
    missing = find_bad(values, fill)
    if missing is None:
        return
    name, bad = missing
    count = values.shape[dim] if values.ndim else 1
    places = bad.movedim(dim, 0).reshape(count, -1).any(-1).nonzero()[:, 0] if values.ndim else [0]
    first = places[:5].tolist() if isinstance(places, Tensor) else places
    raise BadValueError(
        f"{len(places)} of {count} {unit} are {name}, first at {first}; fill them or leave them out before "
        "the values are used"
    )


def with_gaps(values: Float[Tensor, "*shape"], fill: Fill = ()) -> Float[Tensor, "*shape"]:
    """Return values with NaN in the places of all kinds of missing values that `find_bad` knows.

    >>> with_gaps(torch.tensor([1.0, 1e20, -9999.0]), fill=-9999)
    tensor([1., nan, nan])
    """
    gaps = torch.zeros_like(values, dtype=torch.bool)
    for _, bad in _kinds(values.detach(), named_fills(fill)):
        gaps = gaps | bad
    return values.masked_fill(gaps, torch.nan)


def tensors(batch: Any, name: str = "batch") -> Iterator[tuple[str, Tensor]]:
    """Yield the tensors of a batch by name: itself, or those of tuples, lists, mappings and PyG data in it.

    >>> [name for name, _ in tensors((torch.zeros(2), {"y": torch.ones(2)}))]
    ['batch[0]', "batch[1]['y']"]
    """
    if hasattr(batch, "to_dict"):
        batch = batch.to_dict()
    if isinstance(batch, Tensor):
        yield name, batch
    elif isinstance(batch, Mapping):
        for key, part in batch.items():
            yield from tensors(part, f"{name}[{key!r}]")
    elif isinstance(batch, (tuple, list)):
        for number, part in enumerate(batch):
            yield from tensors(part, f"{name}[{number}]")


def check_batch(batch: Any, device_too: bool = True) -> None:
    """Raise BadValueError, naming tensor and place, for a batch with missing values.

    Without `device_too` only tensors in CPU memory are checked, which needs no synchronisation.

    >>> check_batch((torch.zeros(2, 192, 1), torch.tensor([3, 4])))
    """
    for name, values in tensors(batch):
        if values.is_meta or not (device_too or values.device.type == "cpu"):
            continue
        missing = find_bad(values)
        if missing is not None:
            kind, places = missing[0], missing[1].nonzero()
            raise BadValueError(
                f"{len(places)} of {values.numel()} values of {name} {list(values.shape)} are {kind}, "
                f"first at {places[:3].tolist()}; fill them or leave those examples out"
            )


def _kinds(
    values: Shaped[Tensor, "*shape"], fills: Mapping[str, float]
) -> Iterator[tuple[str, Bool[Tensor, "*shape"]]]:
    """Yield each kind of missing value and its places, lazily."""
    if values.is_floating_point() and values.numel():
        # one check settles most tensors, which hold none; a comparison with NaN is false
        least, largest = values.aminmax()
        if not bool((least > -LARGE) & (largest < LARGE)):
            yield "NaN", values.isnan()
            yield "infinite", values.isinf()
            for name, fill in FILLS.items():
                yield name, _equal(values, fill)
    for name, fill in fills.items():
        yield name, _equal(values, fill)


def _equal(values: Num[Tensor, "*shape"], fill: float) -> Bool[Tensor, "*shape"]:
    """Return where values equal a number as their dtype stores it, rounded to float32 before or not."""
    if not values.is_floating_point():
        return values == fill
    exact = torch.tensor(fill, dtype=torch.float64, device="cpu")
    stored = torch.stack([exact, exact.float().double()]).to(values.dtype).tolist()
    return (values == stored[0]) | (values == stored[1])


def named_fills(fill: Fill) -> Mapping[str, float]:
    """Return fill values by name; those without a name get one.

    >>> named_fills([-9999, -999.5])
    {'the fill value -9999': -9999.0, 'the fill value -999.5': -999.5}
    """
    if isinstance(fill, Mapping):
        return fill
    numbers = torch.as_tensor(fill, dtype=torch.float64, device="cpu").flatten().tolist()
    return {f"the fill value {number:g}": number for number in numbers}
