"""Splits: shares, strata, groups, what is given, determinism."""

import pytest

from geocnn.data.folders.splitting import split_samples
from geocnn.errors import DatasetError


def test_each_class_is_shared_out_in_proportion():
    strata = ["a"] * 40 + ["b"] * 20
    result = split_samples(strata, [""] * 60, [""] * 60)
    for name, count in (("a", 40), ("b", 20)):
        own = [r for r, s in zip(result, strata, strict=True) if s == name]
        assert [own.count(part) for part in ("train", "val", "test")] == [
            round(0.7 * count), round(0.15 * count), round(0.15 * count)
        ]  # fmt: skip


@pytest.mark.parametrize("n", range(3, 30))
def test_every_split_gets_something_and_every_class_trains(n):
    strata = [k % 3 for k in range(n)]
    result = split_samples(strata, [""] * n, [""] * n)
    assert set(result) == {"train", "val", "test"}
    assert n < 6 or {s for r, s in zip(result, strata, strict=True) if r == "train"} == set(strata)


def test_groups_stay_together():
    groups = [f"g{k // 4}" for k in range(40)]
    result = split_samples(["a", "b"] * 20, groups, [""] * 40)
    for group in set(groups):
        assert len({r for r, g in zip(result, groups, strict=True) if g == group}) == 1


def test_what_is_given_stays_and_validation_comes_from_training():
    given = ["test"] * 5 + ["train"] * 600
    result = split_samples([""] * 605, [""] * 605, given)
    assert result[:5] == ["test"] * 5 and result.count("val") == 90 and result.count("train") == 510
    assert split_samples([""] * 3, [""] * 3, ["train", "val", "test"]) == ["train", "val", "test"]


def test_few_training_samples_beside_a_test_set_are_all_learnt_from():
    given = ["test"] * 5 + ["train"] * 20
    assert split_samples([""] * 25, [""] * 25, given) == given
    result = split_samples([""] * 25, [""] * 25, ["val"] * 5 + [""] * 20)
    assert result[:5] == ["val"] * 5 and result.count("test") == 3


def test_the_seed_decides():
    first, again, other = (split_samples([""] * 50, [""] * 50, [""] * 50, seed) for seed in (1, 1, 2))
    assert first == again != other


def test_too_few():
    with pytest.raises(DatasetError, match="there are 2 samples to split"):
        split_samples(["a", "a"], ["", ""], ["", ""])
    with pytest.raises(DatasetError, match="there are 2 groups to split"):
        split_samples(["a"] * 8, ["g", "h"] * 4, [""] * 8)
