"""What `import geocnn; import geocnn.nn` costs on top of `import torch`: fresh interpreters, median of 7.

python benchmarks/import_time.py      prints, and writes benchmarks/import_time.csv
"""

from __future__ import annotations

import csv
import os
import platform
import statistics
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
REPEATS = 7
STATEMENTS = ["import geocnn", "import geocnn.geometry", "import geocnn.nn"]
TIMED = """
import time
import torch
start = time.perf_counter()
{statements}
print(time.perf_counter() - start)
"""


def seconds(statements: str) -> float:
    """Median time of the statements once torch is loaded."""
    env = os.environ | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", TIMED.format(statements=statements)]
    runs = [
        subprocess.run(command, capture_output=True, text=True, env=env, check=True) for _ in range(REPEATS)
    ]
    return statistics.median(float(run.stdout) for run in runs)


def cpu_name() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return models[0] if models else platform.processor()


def main() -> None:
    import torch

    rows = []
    for count in range(1, len(STATEMENTS) + 1):
        statements = "; ".join(STATEMENTS[:count])
        milliseconds = 1000 * seconds(statements)
        rows.append(
            [statements, f"{milliseconds:.1f}", cpu_name(), torch.__version__, platform.python_version()]
        )
        print(f"{statements:65s} {milliseconds:8.1f} ms on top of import torch")
    with (ROOT / "benchmarks" / "import_time.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["statements", "median_ms_after_torch", "cpu", "torch", "python"])
        writer.writerows(rows)


if __name__ == "__main__":
    main()
