"""Weights, memory and time of the networks that `nn.preset` chooses, on bumpy spheres.

    python benchmarks/networks.py

Memory is that of `nn.cost` for one surface: all in training, at most. Times are CPU seconds of a step
(forward and backward) on one thread, the middle of three after a first one.
"""

from __future__ import annotations

import csv
import statistics
import sys
import time
from pathlib import Path

import torch

from geocnn.geometry import mesh
from geocnn.geometry.spheres.icosahedron import Icosahedron
from geocnn.nn import build_network, cost, preset
from geocnn.nn.presets import OF_POINTS

FEATURES = "11x0 + 5x1 + 1x2"


def surface(level: int):
    solid = Icosahedron(level)
    p = solid.points * (1 + 0.1 * torch.sin(3 * solid.points[:, :1]))
    m = mesh(p, solid.faces[-1])
    return mesh(p / m.spacing, solid.faces[-1])


def step_time(model: torch.nn.Module, x: torch.Tensor, h) -> float:
    def step() -> float:
        start = time.process_time()
        model(x, h).square().mean().backward()
        return time.process_time() - start

    step()
    return statistics.median(step() for _ in range(3))


def main(levels: tuple[int, ...] = (3, 4)) -> None:
    torch.set_num_threads(1)
    rows = []
    for level in levels:
        s = surface(level)
        x = torch.randn(s.n_points, 23, generator=torch.Generator().manual_seed(0))
        for task in ("classify", "classify-points"):
            for size in OF_POINTS:
                chosen = preset(task, 300, s.n_points, FEATURES, 8, size)
                options = chosen.hierarchy
                h = s.hierarchy(options["levels"], options["spacings"], options["kind"]).float()
                for name, description in (("network", chosen.network), ("control", chosen.control)):
                    assert description is not None
                    torch.manual_seed(0)
                    model = build_network(description)
                    row = {
                        "points": s.n_points,
                        "task": task,
                        "size": size,
                        "network": name,
                        "levels": options["levels"],
                        "weights": sum(p.numel() for p in model.parameters()),
                        "megabytes": round(cost(model, h).peak / 1e6),
                        "step_seconds": round(step_time(model, x, h), 3),
                    }
                    rows.append(row)
                    print(*row.values(), flush=True)
    with (Path(__file__).with_suffix(".csv")).open("w", newline="") as stream:
        writer = csv.DictWriter(stream, rows[0])
        writer.writeheader()
        writer.writerows(rows)


if __name__ == "__main__":
    main(tuple(map(int, sys.argv[1:])) or (3, 4))
