"""Values that stand for no value: NaN, infinity, and the numbers that files hold where nothing is known.

They are refused where values enter: by readers, data sets, `predict`, and in the batches of a training.
Layers do not look, for a look costs a GPU a synchronisation.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from geocnn.errors import BadValueError

UNSEEN = -1.6375e30  # the value healpy and the HEALPix FITS convention write where nothing was observed

Fill = float | Sequence[float] | Mapping[str, float]
"""Numbers that stand for no value in a user's data, perhaps by name."""

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
"""Known by their exact value. Numbers that data may well have, such as -9999, are not among them: name them
by `fill`.
"""

LARGE = 1e19  # below the size of every known fill


def find_bad(values: Tensor, fill: Fill = ()) -> tuple[str, Tensor] | None:
    """The first kind of bad value in a tensor of any kind: its name, and where [like values] it stands.

    None where there is none. A fill is found by its exact value, also where it went through float32.

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


def check_values(values: Tensor, dim: int = -1, unit: str = "pixels", fill: Fill = ()) -> None:
    """Raises BadValueError, naming the places along `dim` (called by `unit`), where values are NaN, infinite,
    a known fill value, or one of `fill`.

    >>> check_values(torch.zeros(3, 192))
    """
    found = find_bad(values, fill)
    if found is None:
        return
    name, bad = found
    count = values.shape[dim] if values.ndim else 1
    places = bad.movedim(dim, 0).reshape(count, -1).any(-1).nonzero()[:, 0] if values.ndim else [0]
    first = places[:5].tolist() if isinstance(places, Tensor) else places
    raise BadValueError(
        f"{len(places)} of {count} {unit} are {name}, first at {first}; fill them or leave them out before "
        "the values are used"
    )


def tensors(batch: Any, name: str = "batch") -> Iterator[tuple[str, Tensor]]:
    """The tensors of a batch, by name: itself, or those of tuples, lists, mappings and PyG's data in it.

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
    """Raises BadValueError, naming tensor and place, for a batch with values that stand for none.

    Without `device_too` only tensors in the memory of the processor are looked at, which nobody waits for.

    >>> check_batch((torch.zeros(2, 192, 1), torch.tensor([3, 4])))
    """
    for name, values in tensors(batch):
        if values.is_meta or not (device_too or values.device.type == "cpu"):
            continue
        found = find_bad(values)
        if found is not None:
            places = found[1].nonzero()
            raise BadValueError(
                f"{len(places)} of {values.numel()} values of {name} {list(values.shape)} are {found[0]}, "
                f"first at {places[:3].tolist()}; fill them or leave those examples out"
            )


def _kinds(values: Tensor, fills: Mapping[str, float]) -> Iterator[tuple[str, Tensor]]:
    if values.is_floating_point() and values.numel():
        # one look, for most tensors have nothing of the kind; comparing with NaN is false
        least, largest = values.aminmax()
        if not bool((least > -LARGE) & (largest < LARGE)):
            yield "NaN", values.isnan()
            yield "infinite", values.isinf()
            for name, fill in FILLS.items():
                yield name, _equal(values, fill)
    for name, fill in fills.items():
        yield name, _equal(values, fill)


def _equal(values: Tensor, fill: float) -> Tensor:
    """Where values are a number, as their type holds it, rounded to float32 before or not."""
    if not values.is_floating_point():
        return values == fill
    exact = torch.tensor(fill, dtype=torch.float64, device="cpu")
    stored = torch.stack([exact, exact.float().double()]).to(values.dtype).tolist()
    return (values == stored[0]) | (values == stored[1])


def named_fills(fill: Fill) -> Mapping[str, float]:
    """Fills by their names, made up where they have none.

    >>> named_fills([-9999, -999.5])
    {'the fill value -9999': -9999.0, 'the fill value -999.5': -999.5}
    """
    if isinstance(fill, Mapping):
        return fill
    numbers = torch.as_tensor(fill, dtype=torch.float64, device="cpu").flatten().tolist()
    return {f"the fill value {number:g}": number for number in numbers}
