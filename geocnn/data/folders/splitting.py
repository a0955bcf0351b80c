"""Samples are split into training, validation and test sets: stratified, whole groups together, seeded."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Hashable, Sequence

from geocnn.errors import DatasetError

SHARES = {"train": 0.7, "val": 0.15, "test": 0.15}

FEW = 500
"""Samples that are given for training and fewer than this are all learnt from: what a validation set of 15 in
a hundred would tell is mostly chance.
"""


def split_samples(
    strata: Sequence[Hashable],
    groups: Sequence[str],
    given: Sequence[str],
    seed: int = 0,
    shares: dict[str, float] | None = None,
) -> list[str]:
    """Return "train", "val" or "test" for each sample.

    Splits that are given stay. Where there are some without a validation (or test) set, that is taken from
    the training samples; samples without a given split are training samples then. No validation set is taken
    from fewer than `FEW` training samples where a test set is given too. Each stratum (the class,
    say) is shared out in proportion; samples of one group stay together, in the stratum that most of them
    have. Every split gets something where there are enough groups.

    Raises DatasetError where there are fewer than three samples or groups to share out.

    >>> split_samples(["a"] * 10 + ["b"] * 10, [""] * 20, [""] * 20).count("train")
    14
    """
    _check_groups(groups, given)
    n = len(strata)
    result = list(given)
    if any(result):
        result = [name or "train" for name in result]
    shares = dict(SHARES if shares is None else shares)
    missing = [name for name in ("val", "test") if name not in result]
    if missing == ["val"] and result.count("train") < FEW:
        return result
    if not any(given):
        free = list(range(n))
    else:
        free = [k for k in range(n) if result[k] == "train"] if missing else []
    if not missing or not free:
        return result
    units = _units(free, strata, groups)
    if len(units) < 1 + len(missing):
        what = "groups" if any(groups) else "samples"
        raise DatasetError(
            f"there are {len(units)} {what} to split into train, {' and '.join(missing)}; give more, or a "
            "column 'split'"
        )
    for k in free:
        result[k] = "train"
    taken = {name: shares[name] / sum(shares.values()) for name in missing}
    for name, unit in _chosen(units, strata, taken, seed):
        for k in unit:
            result[k] = name
    return result


def _check_groups(groups: Sequence[str], given: Sequence[str]) -> None:
    """Raise DatasetError where samples of one group are in two of the given splits."""
    place: dict[str, str] = {}
    for group, split in zip(groups, given, strict=True):
        if group and split and place.setdefault(group, split) != split:
            raise DatasetError(
                f"samples of the group '{group}' are in {place[group]} and in {split}; give them one split, "
                "or other groups"
            )


def folds(strata: Sequence[Hashable], groups: Sequence[str], count: int, seed: int = 0) -> list[int]:
    """Return the fold, 0 to count − 1, of each sample: stratified, whole groups together, of like size.

    Raises DatasetError where there are fewer samples or groups than folds, or fewer than three folds.

    >>> Counter(folds(["a", "b"] * 6, [""] * 12, 3))[0]
    4
    """
    units = _units(list(range(len(strata))), strata, groups)
    if not 3 <= count <= len(units):
        what = "groups" if any(groups) else "samples"
        few = f"{len(units)} {what if len(units) != 1 else what[:-1]}"
        remedy = f"give 3 to {len(units)}" if len(units) >= 3 else f"three {what} at least are needed"
        raise DatasetError(f"{count} folds of {few}: {remedy}")
    sizes, result = [0] * count, [0] * len(strata)
    of_stratum: dict[Hashable, list[int]] = {}
    for stratum, members in _shuffled(units, strata, seed).items():
        for unit in sorted(members, key=len, reverse=True):
            own = of_stratum.setdefault(stratum, [0] * count)
            k = min(range(count), key=lambda f: (own[f], sizes[f], f))
            own[k] += len(unit)
            sizes[k] += len(unit)
            for sample in unit:
                result[sample] = k
    return result


def _units(free: Sequence[int], strata: Sequence[Hashable], groups: Sequence[str]) -> list[list[int]]:
    """Return what stays together: the samples of each group, and each sample without a group."""
    units: dict[Hashable, list[int]] = {}
    for k in free:
        units.setdefault(groups[k] or ("", k), []).append(k)
    return list(units.values())


def _shuffled(
    units: Sequence[list[int]], strata: Sequence[Hashable], seed: int
) -> dict[Hashable, list[list[int]]]:
    """Return the units of each stratum in a random order."""
    by_stratum: dict[Hashable, list[list[int]]] = {}
    for unit in units:
        (stratum, _), *_ = Counter(strata[k] for k in unit).most_common(1)
        by_stratum.setdefault(stratum, []).append(unit)
    generator = random.Random(seed)
    for members in by_stratum.values():
        generator.shuffle(members)
    return dict(sorted(by_stratum.items(), key=lambda item: str(item[0])))


def _chosen(
    units: Sequence[list[int]], strata: Sequence[Hashable], shares: dict[str, float], seed: int
) -> list[tuple[str, list[int]]]:
    """Return the units that leave the training set, with their new split."""
    by_stratum = _shuffled(units, strata, seed)
    chosen: list[tuple[str, list[int]]] = []
    owed = dict.fromkeys(shares, 0.0)
    for members in by_stratum.values():
        size = sum(map(len, members))
        for name, share in shares.items():
            owed[name] += share * size
            # at least one of each stratum stays in training
            while len(members) > 1 and owed[name] >= len(members[-1]) / 2:
                owed[name] -= len(members[-1])
                chosen.append((name, members.pop()))
    for name in shares:
        if all(name != other for other, _ in chosen):
            chosen.append((name, max(by_stratum.values(), key=len).pop()))
    return chosen
