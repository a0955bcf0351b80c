"""Pages are whole and self-contained; in a browser they draw, change the field, turn, and tell values."""

import html
import json
import math
import re
import shutil
import subprocess

import pytest
import torch

from geocnn import viz
from geocnn.errors import GeometryError
from geocnn.geometry import healpix, icosphere, mesh, plane, raw_mesh
from geocnn.viz.field_pictures import sides
from geocnn.viz.seeing import look
from geocnn.viz.skins import skin
from tests.shapes import tetrahedron

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
BALL = icosphere(3)
ROUND = mesh(BALL.points * torch.tensor([1.0, 1.3, 0.8]).double(), BALL.grid.solid.faces[-1])
HEIGHT = ROUND.points[:, 1].clone()
HEIGHT[ROUND.points[:, 0] > 0.6] = math.nan
FIELDS = {
    "height <b>": viz.Field(HEIGHT, unit="mm", limits=(-1, 1.3)),
    "part": viz.Field((ROUND.points[:, 1] > 0).int(), classes=["lower </script>", "upper"]),
    "flow": torch.stack([torch.ones(642), ROUND.points[:, 2]], 1),
    "of faces": torch.arange(1280.0),
}

# leaves what it finds in the page; a frame passes before pixels are read
PROBE = """
<script>{
const found = {};
const colours = () => {
  render(false);
  const bytes = new Uint8Array(4 * canvas.width * canvas.height), pixels = new Uint32Array(bytes.buffer);
  gl.readPixels(0, 0, canvas.width, canvas.height, gl.RGBA, gl.UNSIGNED_BYTE, bytes);
  return [pixels.filter(pixel => pixel !== 0xffffffff).length / pixels.length, new Set(pixels).size];
};
const point = (x, y) => {
  canvas.dispatchEvent(new PointerEvent("pointermove", { clientX: x + canvas.getBoundingClientRect().left,
    clientY: y + canvas.getBoundingClientRect().top, pointerId: 1 }));
  return element("readout").textContent;
};
window.addEventListener("load", () => setTimeout(() => {
  found.size = [canvas.clientWidth, canvas.clientHeight];
  const chooser = element("field");
  found.names = [...chooser.options].map(option => option.textContent);
  found.fields = found.names.map((name, k) => {
    if (k > 0) { chooser.value = k; chooser.dispatchEvent(new Event("change")); }
    const [w, h] = found.size;
    return { colours: colours(), said: element("name").textContent, keys: element("keys").innerText,
      ticks: element("ticks").innerText, bar: !element("bar").hidden, hash: location.hash,
      middle: point(w / 2 + 0.5, h / 2 + 0.5), beside: point(2, 2) };
  });
  element("over").click();
  chooser.value = 0;
  chooser.dispatchEvent(new Event("change"));
  found.over = point(found.size[0] / 2 + 0.5, found.size[1] / 2 + 0.5);
  found.message = element("message").textContent;
  document.body.innerHTML = "<pre id='result'></pre>";
  document.getElementById("result").textContent = JSON.stringify(found);
}, 200));
}</script>
"""


def opened(page, tmp_path, where=""):
    """What the probe finds in a page, and what the browser prints about it."""
    if BROWSER is None:
        pytest.skip("no Chromium to open the page with: apt-get install chromium")
    probed = tmp_path / f"probed-{page.name}"
    probed.write_text(
        page.read_text(encoding="utf-8").replace("</body>", PROBE + "</body>"), encoding="utf-8"
    )
    options = (
        "--headless --no-sandbox --disable-quic --no-first-run --disable-background-networking "
        "--disable-component-update --disable-sync --use-angle=swiftshader --enable-unsafe-swiftshader "
        "--window-size=640,480 --virtual-time-budget=10000 --enable-logging=stderr --dump-dom"
    ).split()
    run = subprocess.run(
        [BROWSER, *options, f"--user-data-dir={tmp_path / 'profile'}", f"{probed.as_uri()}{where}"],
        capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    printed = [line for line in run.stderr.splitlines() if "CONSOLE" in line]
    result = re.search(r"<pre id=\"result\">(.*?)</pre>", run.stdout, re.DOTALL)
    assert result, (run.stdout[-2000:], run.stderr[-2000:])
    return json.loads(html.unescape(result[1])), printed


def in_the_middle(surface, over=False):
    """The point that is seen in the middle of the page, by the pictures' depth buffer."""
    shown = skin(surface)
    view = sides(shown)[0]
    if over:
        view = torch.diag(torch.tensor([-1.0, 1.0, -1.0])).double() @ view
    seen = look(shown, view, 600)
    v = shown.vertices
    x, y = ((v.amax(0) + v.amin(0)) / 2 @ view[:2].T).tolist()
    left, right, bottom, top = seen.extent
    height, width = seen.shade.shape
    row, column = int((top - y) / (top - bottom) * height), int((x - left) / (right - left) * width)
    return int(seen.rows[row, column, seen.weights[row, column].argmax()])


def test_a_browser_draws_each_field_and_tells_its_values(tmp_path):
    viz.page(tmp_path / "a.html", ROUND, FIELDS, "A <i>ball</i> </script>")
    found, printed = opened(tmp_path / "a.html", tmp_path)
    assert not printed and found["message"] == ""
    assert found["names"] == [*FIELDS, "the shape alone"]
    height, part, flow, faces, shape = found["fields"]
    for each in found["fields"]:
        drawn, colours = each["colours"]
        assert 0.2 < drawn < 0.9 and colours > 20 and each["beside"] == ""
    row = in_the_middle(ROUND)
    assert height["middle"] == f"height <b>: {float(f'{HEIGHT[row]:.5g}'):g} mm\nvertex {row}"
    assert (
        height["said"] == "height <b> (mm)" and height["bar"] and height["hash"] == "#field=height%20%3Cb%3E"
    )
    assert height["ticks"].split() == ["1.3", "0.725", "0.15", "-0.425", "≤", "-1"]
    assert f"no value ({int(HEIGHT.isnan().sum())})" in height["keys"]
    lower = int((ROUND.points[:, 1] <= 0).sum())
    assert part["keys"].split("\n") == [f"lower </script> ({lower})", f"upper ({642 - lower})"]
    assert not part["bar"] and part["middle"].startswith(
        f"part: {'upper' if ROUND.points[row, 1] > 0 else 'lower'}"
    )
    assert flow["middle"].endswith(f"vertex {row}") and flow["ticks"].split()[-1] == "0"
    face = int(faces["middle"].split()[-1])
    assert row in ROUND.faces[face] and faces["middle"] == f"of faces: {face}\nface {face}"
    assert shape["middle"] == f"vertex {row}" and not shape["bar"] and shape["said"] == ""
    behind = in_the_middle(ROUND, over=True)
    assert found["over"].endswith(f"vertex {behind}") and behind != row


def test_a_map_and_a_flat_surface_open_at_the_field_of_the_address(tmp_path):
    sphere = healpix(8)
    viz.page(
        tmp_path / "map.html",
        sphere,
        {"a": torch.zeros(768), "T": viz.Field(1e6 + 1e-3 * sphere.points[:, 2])},
    )
    found, printed = opened(tmp_path / "map.html", tmp_path)
    assert not printed
    pixel = int(found["fields"][1]["middle"].split()[-1])
    assert found["fields"][1]["middle"].startswith("T: 1000000") and "pixel" in found["fields"][1]["middle"]
    towards = sides(skin(sphere), "z")[0][2]
    assert float(sphere.points[pixel] @ towards) > 0.98
    viz.page(
        tmp_path / "flat.html", plane((3, 5)), {"row": torch.arange(15) // 5, "column": torch.arange(15) % 5}
    )
    found, printed = opened(tmp_path / "flat.html", tmp_path, "#field=column")
    assert not printed and found["fields"][0]["said"] == "column"
    assert found["fields"][1]["middle"] == "column: 2\npoint 7"


def test_a_page_needs_nothing_from_elsewhere(tmp_path):
    file = tmp_path / "a.html"
    viz.page(file, ROUND, FIELDS, "title")
    text = file.read_text(encoding="utf-8")
    assert not re.search(r"https?:|src=|@import|url\(", text)
    assert "default-src 'none'" in text and text.count("</script>") == 2
    assert (
        file.stat().st_size < 17_500 + 25 * len(ROUND.faces) + 24 * len(ROUND.faces) + 6 * 3 * 642 + 120_000
    )
    assert not list(tmp_path.glob("*.part"))


def test_single_precision_is_used_only_where_it_tells_values_apart(tmp_path):
    file = tmp_path / "a.html"
    viz.page(file, ROUND, {"a": ROUND.points[:, 0], "b": 1e9 + ROUND.points[:, 0]})
    data = json.loads(re.search(r'application/json">(.*?)</script>', file.read_text())[1])  # type: ignore[index]
    assert [field["type"] for field in data["fields"]] == ["f4", "f8"]


def test_a_field_that_does_not_fit_is_named_and_nothing_is_written(tmp_path):
    for values, message in (
        (torch.rand(7), "odd: there are 7 values"),
        (torch.rand(6, 2), "odd: .*need frames"),
    ):
        v, f = tetrahedron()
        with pytest.raises(GeometryError, match=message):
            viz.page(tmp_path / "a.html", raw_mesh(torch.cat([v, v[:2]]), f), {"odd": values})
    assert not list(tmp_path.iterdir())


def test_a_broken_mesh_has_a_page(tmp_path):
    v, f = tetrahedron()
    raw = raw_mesh(
        torch.cat([v, torch.tensor([[math.nan, 0, 0]]).double()]),
        torch.cat([f, torch.tensor([[0, 1, 9], [1, 1, 2]])]),
    )
    viz.page(
        tmp_path / "a.html",
        raw,
        {"v": torch.rand(5, 3), "f": torch.arange(6), "none": torch.full((5,), math.inf)},
    )
    assert "NaN" not in (tmp_path / "a.html").read_text().split("application/json")[1].split("</script>")[0]
