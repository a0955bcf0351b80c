"""Where the time of a training step of each recipe goes.

A step fetches a batch, computes the loss and its gradients, and changes the weights. Times are CPU
milliseconds on one thread, means over steps after a pass that made all operators. "products" are matrix
products, sparse ones that sum over the slots of a source included; "rows" reads rows of features; "copies"
brings numbers into another order; "pointwise" is everything else that computes. "calls" is what remains,
mostly Python and the allocation of memory.

python benchmarks/recipes.py      prints, and writes benchmarks/recipes.csv (a minute or two)
"""

from __future__ import annotations

import csv
import time
from pathlib import Path
from typing import Any

import torch
from import_time import cpu_name
from torch.profiler import ProfilerActivity, profile

from geocnn.train.recipes import body_parts, spherical_digits

TABLE = Path(__file__).with_suffix(".csv")
STEPS = 12
EXAMPLES = {"spherical-digits": 320, "body-parts": 6}
KINDS = {
    "products": {"bmm", "mm", "addmm", "addmm_", "baddbmm"},
    "rows": {"index_select", "index", "index_copy_", "embedding", "index_add_", "_sparse_mm", "gather"},
    "copies": {"copy_", "cat", "fill_", "zero_"},
}
COLUMNS = ["data", "products", "rows", "copies", "pointwise", "calls", "step"]


def kind_of(event: Any) -> str:
    """The column of an event; what is no operation of PyTorch counts as calls."""
    space, _, name = event.key.partition("::")
    if space != "aten":
        return "calls"
    kind = next((kind for kind, names in KINDS.items() if name in names), "pointwise")
    views = {"view", "slice", "as_strided", "permute", "reshape", "empty", "expand", "narrow", "select"}
    return "calls" if name in views else kind


def measured(recipe: Any, examples: int) -> dict[str, float]:
    """Milliseconds per step, by column."""
    torch.manual_seed(0)
    settings = type(recipe.default)(**vars(recipe.default) | {"train_size": examples})
    network = recipe.build(recipe.trainings(settings)[0].description)
    data, optimizer = recipe.data(settings, "train"), torch.optim.AdamW(network.parameters())
    batches = list(torch.arange(examples).split(settings.batch_size))

    def step(number: int) -> float:
        start = time.process_time()
        batch = data.__getitems__(batches[number % len(batches)].tolist())
        fetched = time.process_time() - start
        optimizer.zero_grad()
        recipe.score(network, batch)[0].backward()
        optimizer.step()
        return fetched

    for number in range(len(batches)):
        step(number)
    start = time.process_time()
    fetched = sum(step(number) for number in range(STEPS))
    whole = time.process_time() - start
    with profile(activities=[ProfilerActivity.CPU]) as run:
        for number in range(STEPS):
            step(number)
    shares = dict.fromkeys(COLUMNS, 0.0)
    for event in run.key_averages():
        shares[kind_of(event)] += event.self_cpu_time_total / 1e6
    # the profiler slows calls down, not operations
    shares["calls"] = whole - fetched - sum(shares[kind] for kind in (*KINDS, "pointwise"))
    shares |= {"data": fetched, "step": whole}
    return {kind: 1e3 * share / STEPS for kind, share in shares.items()}


def main() -> None:
    torch.set_num_threads(1)
    rows = []
    print(f"{'recipe':18}" + "".join(f"{name:>11}" for name in COLUMNS))
    for recipe in (spherical_digits.RECIPE, body_parts.RECIPE):
        shares = measured(recipe, EXAMPLES[recipe.name])
        values = [f"{shares[name]:.1f}" for name in COLUMNS]
        print(f"{recipe.name:18}" + "".join(f"{value:>11}" for value in values))
        rows.append([recipe.name, *values, cpu_name(), 1, torch.__version__])
    with TABLE.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["recipe", *(f"{name}_ms" for name in COLUMNS), "cpu", "threads", "torch"])
        writer.writerows(rows)


if __name__ == "__main__":
    main()
