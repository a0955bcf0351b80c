"""GroupConv beside escnn's R2Conv, and beside the convolution of images that both end in.

Regular fields of C8, 16 to 16, kernel 5 x 5, a batch of 8 images of 64 x 64 pixels, float32; gradients by
input and weights. The three take turns in one run; medians.

    GroupConv    taps from basis and weights, then conv2d
    escnn        R2Conv of the same group, fields and kernel size, in training mode: the same plan
    conv2d       128 to 128 channels with taps that are there already: the floor

python benchmarks/planar.py FOLDER      prints, and writes benchmarks/planar.csv (1 to 2 minutes)

FOLDER holds escnn without its dependencies:
pip install --no-deps escnn==1.0.11 joblib cloudpickle --target FOLDER
"""

from __future__ import annotations

import csv
import statistics
import sys
import time
import types
from collections.abc import Callable
from pathlib import Path

import torch
from import_time import cpu_name
from torch import Tensor, nn

from geocnn.nn import GroupConv

ROOT = Path(__file__).resolve().parents[1]
ELEMENTS, FIELDS, KERNEL, BATCH, SIZE, REPEATS = 8, 16, 5, 8, 64, 15


def escnn_layer(folder: str) -> tuple[nn.Module, Callable[[Tensor], Tensor]]:
    """R2Conv, and how it is applied to a tensor."""
    sys.path.insert(0, folder)
    # compiled code that only its SO(3) calls, and that fails beside numpy 2
    for name in ("", ".representations", ".representations.SO3", ".representations.SO3.wigner_d"):
        sys.modules["lie_learn" + name] = types.ModuleType("lie_learn" + name)
    sys.modules["lie_learn.representations.SO3.wigner_d"].wigner_D_matrix = None  # type: ignore[attr-defined]
    from escnn import gspaces
    from escnn import nn as enn

    space = gspaces.rot2dOnR2(ELEMENTS)
    fields = enn.FieldType(space, [space.regular_repr] * FIELDS)
    layer = enn.R2Conv(fields, fields, KERNEL, padding=KERNEL // 2)
    return layer, lambda x: layer(enn.GeometricTensor(x, fields)).tensor


def milliseconds(layer: Callable[[Tensor], Tensor], x: Tensor) -> tuple[float, float]:
    """Forward, and forward with backward."""
    start = time.perf_counter()
    y = layer(x)
    middle = time.perf_counter()
    y.backward(torch.ones_like(y))
    return 1000 * (middle - start), 1000 * (time.perf_counter() - start)


def main() -> None:
    torch.manual_seed(0)
    ours = GroupConv(f"C{ELEMENTS}", FIELDS, FIELDS, KERNEL)
    theirs, apply = escnn_layer(sys.argv[1])
    plain = nn.Conv2d(FIELDS * ELEMENTS, FIELDS * ELEMENTS, KERNEL, padding=KERNEL // 2)
    x = torch.randn(BATCH, FIELDS * ELEMENTS, SIZE, SIZE, requires_grad=True)
    forms = {
        "GroupConv": (ours, lambda x: ours(x.unflatten(1, (FIELDS, ELEMENTS)))),
        "escnn": (theirs, apply),
        "conv2d": (plain, plain),
    }
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in forms}
    for turn in range(REPEATS + 1):
        for name, (_, function) in forms.items():
            taken = milliseconds(function, x)
            if turn:  # the first warms up
                times[name].append(taken)
    columns = "form forward_ms forward_backward_ms parameters cpu threads torch".split()
    machine = cpu_name(), torch.get_num_threads(), torch.__version__
    rows = []
    for name, (module, _) in forms.items():
        forward, both = (statistics.median(column) for column in zip(*times[name], strict=True))
        parameters = sum(p.numel() for p in module.parameters())
        rows.append([name, f"{forward:.0f}", f"{both:.0f}", parameters, *machine])
        print(f"{name:10s} forward {forward:6.0f} ms, with backward {both:6.0f} ms, {parameters} parameters")
    with (ROOT / "benchmarks" / "planar.csv").open("w", newline="") as file:
        csv.writer(file).writerows([columns, *rows])


if __name__ == "__main__":
    main()
