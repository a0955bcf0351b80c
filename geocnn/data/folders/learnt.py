"""What is learnt over all samples of a folder: the classes, or the mean and deviation of the numbers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Sequence

import numpy as np

from geocnn.data.folders.found import Found, Wishes
from geocnn.data.folders.kept import Kept
from geocnn.errors import DatasetError
from geocnn.wording import counted


def strata_of(found: Found, kept: Sequence[Kept]) -> list[Hashable]:
    """Return the class of each sample, or the fifth of the first number that it lies in."""
    if found.task == "classify":
        counts = Counter(sample.target for sample in found.samples)
        alone = [str(name) for name, count in counts.items() if count < 3]
        if alone and not any(sample.split for sample in found.samples):
            raise DatasetError(
                f"the class '{alone[0]}' has {counted(counts[alone[0]], 'sample')}: training, validation and "
                "test need one each; give more, take the class out, or give a column 'split'"
            )
        return [str(sample.target) for sample in found.samples]
    if found.task == "regress":
        values = np.array([sample.target[0] for sample in found.samples])  # type: ignore[index]
        rank = values.argsort(kind="stable").argsort(kind="stable")
        return (rank * 5 // len(rank)).tolist()
    return ["" for _ in kept]


def classes_of(
    found: Found, kept: Sequence[Kept], splits: Sequence[str], wishes: Wishes
) -> tuple[tuple[str, ...], tuple[int, ...]]:
    """Return the names of classes, and of labels of points their numbers."""
    if not found.classes:
        return (), ()
    if found.task == "classify":
        return _checked(sorted({str(sample.target) for sample in found.samples}), found, splits), ()
    every = sum((k.labels for k in kept), Counter[int]())
    names = {number: name for k in kept for number, name in k.names.items()}
    known = [label for label in sorted(every) if label != wishes.unlabelled]
    wide = [label for label in known if not -(2**31) <= label < 2**31]
    if wide:
        raise DatasetError(
            f"the label {wide[0]} needs more than 32 bits, which files of meshes do not have; number the "
            "classes from 0"
        )
    training = {label for k, name in zip(kept, splits, strict=True) if name == "train" for label in k.labels}
    never = [label for label in known if label not in training]
    if never:
        raise DatasetError(
            f"the label {never[0]} is in no training sample; give other splits, or name it by --unlabelled"
        )
    if len(known) < 2:
        raise DatasetError(f"all points have the label {known}; there is nothing to learn")
    return tuple(names.get(label, str(label)) for label in known), tuple(known)


def _checked(classes: list[str], found: Found, splits: Sequence[str]) -> tuple[str, ...]:
    """Raise DatasetError where a class is missing from training, or there is only one."""
    if len(classes) < 2:
        raise DatasetError(f"all samples have the class '{classes[0]}'; there is nothing to learn")
    training = {s.target for s, name in zip(found.samples, splits, strict=True) if name == "train"}
    never = [name for name in classes if name not in training]
    if never:
        raise DatasetError(f"the class '{never[0]}' has no training sample; give other splits or take it out")
    return tuple(classes)


def moments_of(
    found: Found, kept: Sequence[Kept], splits: Sequence[str]
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return mean and standard deviation of numbers over the training samples."""
    if found.classes:
        return (), ()
    training = [k for k, name in enumerate(splits) if name == "train"]
    if found.task == "regress":
        values = np.array([found.samples[k].target for k in training], dtype=np.float64)
        mean, std = values.mean(0), values.std(0)
    else:
        sums = [kept[k].sums for k in training]
        if any(s is None for s in sums) or len({s.shape for s in sums if s is not None}) > 1:
            raise DatasetError("the numbers of points have unlike columns in different samples")
        count, means, squares = np.stack([s for s in sums if s is not None], 1)
        mean = (count * means).sum(0) / count.sum(0)
        within, between = squares.sum(0), (count * (means - mean) ** 2).sum(0)
        std = np.sqrt((within + between) / count.sum(0))
    if not np.all(std > 0):
        k = int(np.argmin(std))
        raise DatasetError(f"'{found.target[min(k, len(found.target) - 1)]}' is {mean[k]:g} everywhere")
    return tuple(mean.tolist()), tuple(std.tolist())
