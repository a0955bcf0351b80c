"""Named fields join to one x and one type, and come out as they went in."""

from __future__ import annotations

import pytest
import torch

from geocnn.errors import FieldTypeError
from geocnn.groups import FieldType, NamedFields


def draw(*types: str, points: int = 7) -> dict[str, tuple[torch.Tensor, FieldType]]:
    generator = torch.Generator().manual_seed(0)
    return {
        f"field {k}": (FieldType(t).randn(3, points, -1, generator=generator), FieldType(t))
        for k, t in enumerate(types)
    }


@pytest.mark.parametrize("types", [("1x0", "4x0", "2x1", "3x1 + 1x2", "1x0"), ("O2: 1x0e", "O2: 2x0o + 1x1")])
def test_a_turn_of_the_joined_field_turns_each(types):
    given = draw(*types)
    fields = NamedFields.join(given)
    assert fields.x.shape == (3, 7, fields.type.dim) == (3, 7, sum(t.dim for _, t in given.values()))
    angle = torch.arange(7.0)
    flip = torch.arange(7) % 2 == 0 if fields.type.group.flips else None
    turned = NamedFields(fields.type.act(fields.x, angle, flip), fields.types)
    for name, (x, field_type) in given.items():
        assert torch.equal(fields[name], x)
        torch.testing.assert_close(turned[name], field_type.act(x, angle, flip))


def test_scalars_side_by_side_count_together_and_vectors_keep_their_place():
    assert NamedFields.join(draw("1x0", "4x0", "2x1", "1x1")).type == "5x0 + 2x1 + 1x1"
    assert NamedFields.join(draw("1x0 + 1x1", "1x0")).type == "1x0 + 1x1 + 1x0"


def test_fields_are_selected_and_joined_by_name():
    fields = NamedFields.join(draw("1x0", "2x1", "1x2"))
    some = fields.select("field 2", "field 0")
    assert list(some.types) == ["field 2", "field 0"] and some.type == "1x2 + 1x0"
    rest = fields.select("field 1")
    both = some | rest
    assert all(torch.equal(both[name], fields[name]) for name in fields.types)
    assert fields.slices == {"field 0": slice(0, 1), "field 1": slice(1, 5), "field 2": slice(5, 7)}


def test_misuse_is_a_typed_error():
    fields = NamedFields.join(draw("1x0", "2x1"))
    good = torch.zeros(3, 7, 1)
    cases = {
        "there is no field 'rain'; there are field 0, field 1": lambda: fields["rain"],
        "no fields to join": lambda: NamedFields.join({}),
        "both have a field 'field 0'": lambda: fields | fields.select("field 0"),
        r"the field 'a': features of type 2x0 have shape \[..., points, 2\]": lambda: NamedFields.join(
            {"a": (good, "2x0")}
        ),
        "the field 'b' has points": lambda: NamedFields.join({"a": (good, "1x0"), "b": (good[:, :6], "1x0")}),
        "the field 'b' has group O2, 'a' has SO2": lambda: NamedFields.join(
            {"a": (good, "1x0"), "b": (good, "O2: 1x0e")}
        ),
        "the field 'b' has dtype": lambda: NamedFields.join(
            {"a": (good, "1x0"), "b": (good.double(), "1x0")}
        ),
    }
    for words, call in cases.items():
        with pytest.raises(FieldTypeError, match=words):
            call()
