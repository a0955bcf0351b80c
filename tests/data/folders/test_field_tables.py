"""Tables of fields on one surface, as spreadsheets and scripts write them."""

import numpy as np
import pytest

from geocnn.data.folders.field_tables import read_field_table
from geocnn.data.folders.found import Wishes
from geocnn.data.folders.recognise import recognise
from geocnn.errors import DatasetError
from tests.data.folders import made

VALUES = np.arange(8.0).reshape(2, 4) + 0.5
"""Two fields on four points."""


def lines(rows):
    return "\n".join(",".join(map(str, row)) for row in rows) + "\n"


FORMS = {
    "rows": VALUES.tolist(),
    "columns": VALUES.T.tolist(),
    "named rows": [["a", *VALUES[0]], ["b", *VALUES[1]]],
    "named rows below a head": [["who", "v0", "v1", "v2", "v3"], ["a", *VALUES[0]], ["b", *VALUES[1]]],
    "named rows below numbers of points": [["who", 0, 1, 2, 3], ["a", *VALUES[0]], ["b", *VALUES[1]]],
    "rows named by numbers": [["who", "v0", "v1", "v2", "v3"], [7, *VALUES[0]], [9, *VALUES[1]]],
    "columns below names": [["a", "b"], *VALUES.T.tolist()],
    "columns beside numbers of points": [["point", "a", "b"], *([k, *VALUES[:, k]] for k in range(4))],
}
NAMES = {"rows": ["f-0", "f-1"], "columns": ["f-0", "f-1"], "rows named by numbers": ["7", "9"]}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_forms(tmp_path, form, separator):
    (tmp_path / "f.csv").write_text(lines(FORMS[form]).replace(",", separator))
    names, values = read_field_table(tmp_path / "f.csv", 4)
    assert names == NAMES.get(form, ["a", "b"])
    np.testing.assert_array_equal(values, VALUES)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty"),
        ("1,2,3\n4,5,6\n", "has 2 rows of 3 numbers, the surface 4 points"),
        ("1,2,3,4\n5,6,x,8\n", "line 2: 'x' is no number"),
        ("1,2,3,4\n5,6,7\n8,9,1,2\n", "line 2: 3 cells, but 4 in the last line"),
    ],
)
def test_wrong_tables(tmp_path, text, message):
    (tmp_path / "f.csv").write_text(text)
    with pytest.raises(DatasetError, match=message):
        read_field_table(tmp_path / "f.csv", 4)


def test_a_mesh_with_a_table_of_fields(tmp_path):
    folder = made.fields_on_one(tmp_path / "a")
    fields = np.load(folder / "fields.npy")
    (folder / "fields.npy").unlink()
    rows = (folder / "labels.csv").read_text().splitlines()[1:]
    names = [row.split(",")[0] for row in rows]
    # by name, in another order than the table of labels
    (folder / "fields.csv").write_text(
        lines([[n, *f] for n, f in zip(names[::-1], fields[::-1], strict=True)])
    )
    found = recognise(folder, Wishes())
    assert [s.name for s in found.samples] == [n.removesuffix(".npy") for n in names[::-1]]
    assert [s.target for s in found.samples] == [row.split(",")[1] for row in rows[::-1]]
    # without names, in the same order
    (folder / "fields.csv").write_text(lines(fields.tolist()))
    found = recognise(folder, Wishes())
    assert [s.target for s in found.samples] == [row.split(",")[1] for row in rows]
    assert found.samples[3].inputs[0].row == 3
