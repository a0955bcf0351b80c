"""What several examples share: sweeps of small trainings, curves with error bars, photographs.

A sweep is a list of small trainings, each in memory, and a table with one row per training. The row is what
stays: it is appended to a CSV file as soon as its training is done, and a sweep called again continues where
it stopped. (`geocnn.train` trains one network for hours, in a folder of its own.)

The photographs are those of scikit-image that are in the public domain or CC0:

    astronaut   NASA, public domain            chelsea   S. van der Walt, CC0
    camera      L. Varshney, CC0               rocket    SpaceX, public domain
    coffee      R. Michetti, CC0               gravel    CC0Textures, CC0
    brick       CC0Textures, CC0
    grass       linolafett, CC0

They come with that package, so nothing is downloaded; its docstrings name the sources. Networks learn from
the left column and are tested on the right one.
"""

from __future__ import annotations

import csv
import os
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from statistics import mean, stdev
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from geocnn.errors import CheckpointError, DatasetError
from geocnn.geometry.core.values import check_batch
from geocnn.train.score import Scorer, classify
from geocnn.viz import INK

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Network = TypeVar("Network", bound=nn.Module)


def descend(
    network: Network, draw: Callable[[], Any], steps: int, learning_rate: float, score: Scorer = classify
) -> Network:
    """The network after `steps` of Adam towards a lower loss of `score`, each on a batch of `draw()`; the
    learning rate rises to `learning_rate` in the first third and falls to zero. In evaluation mode.

    Raises BadValueError where the first batch has NaN, UNSEEN or another value that stands for none.
    """
    optimiser = torch.optim.Adam(network.parameters(), learning_rate)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, learning_rate, total_steps=max(steps, 2))
    network.train()
    for step in range(steps):
        batch = draw()
        if step == 0:
            check_batch(batch)
        optimiser.zero_grad()
        score(network, batch)[0].backward()
        optimiser.step()
        schedule.step()
    return network.eval()


def batches(x: Tensor, y: Tensor, size: int) -> Callable[[], tuple[Tensor, Tensor]]:
    """Draws `size` of the examples x [n, ...], y [n] at a time, by torch's generator, all once before any
    comes again.

    >>> draw = batches(torch.arange(4), torch.arange(4), 2)
    >>> sorted(draw()[0].tolist() + draw()[0].tolist())
    [0, 1, 2, 3]
    """
    size, left = min(size, len(x)), []

    def draw() -> tuple[Tensor, Tensor]:
        nonlocal left
        if not left:
            left = [b for b in torch.randperm(len(x)).split(size) if len(b) == size]
        some = left.pop()
        return x[some], y[some]

    return draw


@torch.no_grad()
def answers(network: nn.Module, x: Tensor, size: int = 128) -> Tensor:
    """What the network makes of x [n, ...], `size` at a time, in evaluation mode."""
    network.eval()
    return torch.cat([network(part) for part in x.split(size)])


def share_right(network: nn.Module, x: Tensor, y: Tensor, size: int = 128) -> float:
    """The share of x [n, ...] that a classifier gives its label y [n]."""
    return float((answers(network, x, size).argmax(1) == y).double().mean())


def sweep(
    settings: Iterable[Mapping[str, Any]],
    run: Callable[..., Mapping[str, float]],
    file: Path | None = None,
) -> list[dict[str, Any]]:
    """`run(**setting)` for every setting: rows of setting, results and CPU seconds, printed one by one.

    With `file`, a CSV, each row is appended when it is found, and settings that have one there are not run
    again. Of an interrupted sweep no more is lost than the run it was in.

    Raises CheckpointError if the file's columns are others.

    >>> rows = sweep([{"n": 2}, {"n": 3}], lambda n: {"square": n * n})  # doctest: +ELLIPSIS
    n=2  square=4  seconds=...
    n=3  square=9  seconds=...
    """
    settings = list(settings)
    done = [] if file is None else _finished(file, settings)
    found = []
    for setting in settings:
        row = next((old for old in done if all(old[k] == str(v) for k, v in setting.items())), None)
        if row is not None:
            row = {**row, **setting}
        else:
            start = time.process_time()
            results = {name: float(value) for name, value in run(**setting).items()}
            row = {**setting, **results, "seconds": round(time.process_time() - start, 1)}
            if file is not None:
                _append(row, file)
        shown = (f"{k}={v:.4g}" if isinstance(v, float) else f"{k}={v}" for k, v in row.items())
        print("  ".join(shown), flush=True)
        found.append(row)
    return found


class Estimate(NamedTuple):
    """Over several runs."""

    mean: float
    deviation: float
    """Standard deviation of the runs, with n − 1; 0 where there is one."""
    runs: int

    def __str__(self) -> str:
        return f"{self.mean:.1f} ± {self.deviation:.1f}" if self.runs > 1 else f"{self.mean:.1f}"


def estimates(
    rows: Iterable[Mapping[str, Any]], value: str, by: Sequence[str], scale: float = 100.0
) -> dict[tuple[Any, ...], Estimate]:
    """`scale` times a column over the rows that agree in the columns `by`, in their order.

    >>> rows = [{"n": 2, "right": 0.5, "seed": 0}, {"n": 2, "right": 0.7, "seed": 1}]
    >>> str(estimates(rows, "right", ["n"])[2,])
    '60.0 ± 14.1'
    """
    groups: dict[tuple[Any, ...], list[float]] = {}
    for row in rows:
        groups.setdefault(tuple(row[name] for name in by), []).append(scale * float(row[value]))
    return {key: Estimate(mean(v), stdev(v) if len(v) > 1 else 0.0, len(v)) for key, v in groups.items()}


def table(found: Mapping[tuple[Any, ...], Estimate]) -> str:
    """A table in Markdown of estimates: the last entry of their keys across, the others down.

    >>> print(table({("a", 1): Estimate(50.0, 0.5, 3), ("a", 2): Estimate(60.0, 0.5, 3)}))
    | | 1 | 2 |
    |---|---|---|
    | a | 50.0 ± 0.5 | 60.0 ± 0.5 |
    """
    across, down = list(dict.fromkeys(k[-1] for k in found)), list(dict.fromkeys(k[:-1] for k in found))
    lines = [["", *map(str, across)]]
    lines += [[", ".join(map(str, k)), *(str(found.get((*k, a), "")) for a in across)] for k in down]
    head, *body = ("| " + " | ".join(line) + " |" for line in lines)
    return "\n".join([head.replace("|  |", "| |", 1), "|" + "---|" * len(lines[0]), *body])


def _finished(file: Path, settings: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The rows of a file, results as numbers; half a row, which a kill may leave, is cut off."""
    if not file.is_file():
        return []
    text = file.read_text(encoding="utf-8")
    whole = text[: text.rfind("\n") + 1]
    if whole != text:
        os.truncate(file, len(whole.encode()))
    names = {name for setting in settings for name in setting}
    reader = csv.DictReader(whole.splitlines())
    missing = names - set(reader.fieldnames or names)
    if missing:
        raise CheckpointError(
            f"{file} is the table of another sweep, it has no column {', '.join(sorted(missing))}; "
            "give another file"
        )
    return [{k: v if k in names else float(v) for k, v in row.items()} for row in reader]


def _append(row: Mapping[str, Any], file: Path) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("a+", newline="", encoding="utf-8") as stream:
        stream.seek(0)
        columns = next(csv.reader(stream), None)
        if columns not in (None, list(row)):
            raise CheckpointError(
                f"{file} has columns {', '.join(columns or [])}, not {', '.join(row)}; give another file"
            )
        writer = csv.writer(stream, lineterminator="\n")
        if columns is None:
            writer.writerow(row)
        writer.writerow(row.values())


def draw_estimates(
    axis: Axes, found: Mapping[tuple[Any, ...], Any], key: tuple[Any, ...], **style: Any
) -> None:
    """The `estimates` whose keys begin with `key`, against what their keys end
    with; bars are one standard deviation. `style` goes to Axes.errorbar."""
    points = sorted((k[-1], e.mean, e.deviation) for k, e in found.items() if k[:-1] == key)
    x, y, bars = zip(*points, strict=True)
    axis.errorbar(x, y, bars, capsize=2, linewidth=1.2, markersize=3, **style)


def dress(axis: Axes, title: str, **properties: Any) -> None:
    """Title, labels and limits in the voice of the other pictures."""
    axis.set_title(title, fontsize=10, loc="left", color=INK)
    axis.set(**properties)
    axis.grid(alpha=0.2)
    axis.spines[["top", "right"]].set_visible(False)


SPLITS = {
    "train": ("astronaut", "camera", "coffee", "brick", "grass"),
    "test": ("chelsea", "rocket", "gravel"),
}


def photographs(split: str, shrink: int = 1) -> list[Tensor]:
    """The photographs of a split, grey, 0 to 1, float32 [rows, columns]; a pixel is the mean of shrink².

    Raises DatasetError for an unknown split, and where scikit-image is missing.

    >>> [list(image.shape) for image in photographs("test", shrink=4)]
    [[75, 112], [106, 160], [128, 128]]
    """
    if split not in SPLITS:
        raise DatasetError(f"there is no split '{split}'; choose one of {', '.join(SPLITS)}")
    try:
        from skimage import data
    except ImportError as error:
        raise DatasetError("the photographs need scikit-image: pip install 'geocnn[examples]'") from error
    images = [torch.from_numpy(getattr(data, name)()).to(torch.float32) / 255 for name in SPLITS[split]]
    grey = [image if image.ndim == 2 else image.mean(-1) for image in images]
    return [F.avg_pool2d(image[None], shrink)[0] for image in grey]


def cut(images: list[Tensor], n: int, side: int) -> Tensor:
    """n squares [n, side, side] at random places of random images, by torch's generator.

    Raises DatasetError if an image is smaller.

    >>> cut([torch.rand(20, 30), torch.rand(40, 20)], 5, 16).shape
    torch.Size([5, 16, 16])
    """
    smallest = min(min(image.shape) for image in images)
    if smallest < side:
        raise DatasetError(f"a square of {side} pixels cannot be cut from an image of {smallest}")
    found = []
    for k in torch.randint(len(images), (n,)).tolist():
        row, column = (int(torch.randint(size - side + 1, ())) for size in images[k].shape)
        found.append(images[k][row : row + side, column : column + side])
    return torch.stack(found)
