"""Harmonic transforms and correlation beside torch-harmonics, healpy and s2cnn; memory at degree 1024.

- torch-harmonics 0.9.3, Gauss-Legendre grids, float32, batch 8, same lmax, forward + backward: RealSHT,
  InverseRealSHT and RealVectorSHT (whose two components are one spin-1 field here).
- healpy's alm2map, and map2alm with three iterations, at lmax = 2 nside, float64, one map; here one map and,
  per map, 16 (8 at nside 256). By the count, one transform of one map at nside 128 takes 4.3 million entries
  of the table of Legendre functions, 17 million multiply-adds, and Fourier transforms of 196,608 samples.
- degree 1024: synthesis and analysis of one map in a process of its own, peak memory above that of imports
  and input. Table: what all degrees, orders and northern rings would take.

- correlation, float32, batch 32, samples on SO(3) in and out, forward + backward with all gradients, each in
  the order in memory in which its layer writes them: beside
  a loop over degrees of the same weights, and beside s2cnn (Cohen et al. 2018), which always has
  2 bandwidth samples in every angle. First ours and the loop have its samples, then Gauss-Legendre ones, then
  also n ≤ 2 in the third angle. Memory: what one forward + backward adds at most.

Rivals take turns; times are medians, ratios are of processor time. Threads are what OMP_NUM_THREADS says.

python benchmarks/harmonics.py [folders]      prints, and writes benchmarks/harmonics.csv (minutes)

The folders are where torch-harmonics and s2cnn lie, if not among the installed packages; without s2cnn its
rows are left out. pip install --no-deps --target folder torch-harmonics==0.9.3
"""

from __future__ import annotations

import csv
import importlib.util
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import correlation
import torch
from import_time import cpu_name
from torch import Tensor

from geocnn.harmonics import (
    alm_to_healpy,
    analysis,
    gauss_legendre,
    healpix_grid,
    random_coefficients,
    synthesis,
)

ROOT = Path(__file__).resolve().parents[1]
BATCH, BATCH_CORRELATION, REPEATS = 8, 32, 5
COLUMNS = "task grid channels by wall_ms cpu_ms ratio difference peak_mib cpu threads torch".split()


def compete(ours: Callable[[], object], theirs: Callable[[], object]) -> tuple[list[float], list[float]]:
    """Median wall and processor milliseconds of both, run in turns."""
    times: list[list[tuple[float, float]]] = [[], []]
    for repeat in range(REPEATS + 1):
        for run, found in zip((ours, theirs), times, strict=True):
            wall, cpu = time.perf_counter(), time.process_time()
            run()
            if repeat:
                found.append((1e3 * (time.perf_counter() - wall), 1e3 * (time.process_time() - cpu)))
    wall, cpu = ([statistics.median(t[i] for t in found) for found in times] for i in (0, 1))
    return wall, cpu


def both_ways(transform: Callable[[Tensor], Tensor], x: Tensor, cotangent: Tensor) -> Callable[[], None]:
    return lambda: transform(x).backward(cotangent)


def torch_harmonics_cases(n_lat: int, channels: int):
    """(task, our transform, their transform, relative difference) on n_lat x 2 n_lat points."""
    import torch_harmonics

    grid, lmax = gauss_legendre(n_lat), n_lat - 1
    size = {"nlat": n_lat, "nlon": 2 * n_lat, "grid": "legendre-gauss"}
    x = torch.randn(BATCH, channels, n_lat, 2 * n_lat)
    flat = x.flatten(-2).requires_grad_()

    theirs = torch_harmonics.RealSHT(**size)
    alm = analysis(flat, grid, lmax).detach()
    yield (
        "analysis",
        both_ways(lambda v: analysis(v, grid, lmax), flat, torch.randn_like(alm)),
        both_ways(theirs, x.clone().requires_grad_(), torch.randn_like(theirs(x))),
        float((theirs(x) - alm).abs().max() / alm.abs().max()),
    )
    back = torch_harmonics.InverseRealSHT(**size, lmax=n_lat, mmax=n_lat)
    values = synthesis(alm, grid).unflatten(-1, grid.shape)
    yield (
        "synthesis",
        both_ways(lambda a: synthesis(a, grid), alm.clone().requires_grad_(), flat.detach()),
        both_ways(back, alm.contiguous().requires_grad_(), x),
        float((back(alm.contiguous()) - values).abs().max() / values.abs().max()),
    )
    vector = torch_harmonics.RealVectorSHT(**size)
    pair = torch.randn(BATCH, channels, 2, n_lat, 2 * n_lat)
    field = torch.complex(pair[:, :, 0], pair[:, :, 1]).flatten(-2).requires_grad_()
    spin = analysis(field, grid, lmax, spin=1).detach()
    # Their harmonics are gradients of unit harmonics, so coefficients are ours over sqrt(l(l + 1)); at m = 0
    # their two are, up to sign, the real and imaginary part of ours.
    degree = torch.arange(n_lat)
    zonal = (
        (degree * (degree + 1)) * vector(pair)[..., 0].abs().square().sum(-2),
        spin[..., lmax].abs().square(),
    )
    yield (
        "spin-1 analysis",
        both_ways(lambda v: analysis(v, grid, lmax, spin=1), field, torch.randn_like(spin)),
        both_ways(vector, pair.clone().requires_grad_(), torch.randn_like(vector(pair))),
        float((zonal[0] - zonal[1]).abs().max() / zonal[1].max()),
    )


def healpy_cases(nside: int, maps: int):
    """(task, our transform of some maps, healpy's of one, relative difference)."""
    import healpy

    lmax, grid = 2 * nside, healpix_grid(nside)
    alm = random_coefficients(lmax, maps, torch.Generator().manual_seed(0))
    values = synthesis(alm, grid)
    one = values[0].numpy()

    packed = alm_to_healpy(alm[:1])[0].numpy()
    found = alm_to_healpy(analysis(values[:1], grid, lmax))[0].numpy()
    back = healpy.alm2map(packed, nside, lmax=lmax)
    yield (
        "alm2map",
        lambda: synthesis(alm, grid),
        lambda: healpy.alm2map(packed, nside, lmax=lmax),
        float(abs(one - back).max() / abs(one).max()),
    )
    yield (
        "map2alm",
        lambda: analysis(values, grid, lmax, iterations=3),
        lambda: healpy.map2alm(one, lmax=lmax, iter=3),
        float(abs(found - healpy.map2alm(one, lmax=lmax, iter=3)).max() / abs(found).max()),
    )


def memory(dtype: str) -> None:
    """Prints seconds and the growth of peak memory in MiB at degree 1024; run in a process of its own."""
    lmax, grid = 1024, gauss_legendre(1025)
    alm = random_coefficients(lmax, 1, torch.Generator().manual_seed(0))
    alm = alm.to(torch.complex64 if dtype == "float32" else torch.complex128)
    before = peak_mib()
    start = time.perf_counter()
    found = analysis(synthesis(alm, grid), grid, lmax)
    seconds = time.perf_counter() - start
    print(seconds, peak_mib() - before, float((found - alm).norm() / alm.norm()))


def in_new_process(*arguments: str) -> str:
    """What this script prints when called with the same folders and these arguments."""
    command = [sys.executable, __file__, *sys.argv[1:], *arguments]
    # what is freed goes back to the system at once, so peaks are of what lives
    environment = os.environ | {"MALLOC_MMAP_THRESHOLD_": "65536"}
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout


def peak_mib() -> float:
    """The most memory this process has held at once (Linux)."""
    status = Path("/proc/self/status").read_text().split()
    return int(status[status.index("VmHWM:") + 1]) / 1024


def correlation_memory(index: str, name: str) -> None:
    """Prints how many MiB one forward + backward adds at most; run in a process of its own."""
    _, step = correlation.contender(name, correlation.CASES[int(index)], BATCH_CORRELATION)
    step()
    Path("/proc/self/clear_refs").write_text("5")  # the peak so far is forgotten
    before = peak_mib()
    step()
    print(peak_mib() - before)


def main(rows: list[dict]) -> None:
    machine = {"cpu": cpu_name(), "threads": torch.get_num_threads(), "torch": torch.__version__}

    def report(task, grid, channels, peer, wall, cpu, difference, maps=1, peaks=("", "")):
        off = "" if difference is None else f"{difference:.1e}"
        for by, w, c, peak in zip(("geocnn", peer), wall, cpu, peaks, strict=True):
            share = maps if by == "geocnn" else 1
            ratio = f"{cpu[1] * maps / cpu[0]:.2f}" if by == "geocnn" else ""
            row = [
                task,
                grid,
                channels,
                by,
                f"{w / share:.2f}",
                f"{c / share:.2f}",
                ratio,
                off,
                peak,
            ]
            rows.append(dict(zip(COLUMNS, row, strict=False)) | machine)
        print(
            f"{task:22s} {grid:>14s} {channels:>8s} {wall[0] / maps:8.1f} {wall[1]:8.1f} {cpu[0] / maps:8.1f}"
            f" {cpu[1]:8.1f} {cpu[1] * maps / cpu[0]:6.2f}x {off:>8s} {'/'.join(peaks):>8s}  {peer}",
            flush=True,
        )

    titles = "grid", "channels", "wall ms", "peer", "cpu ms", "peer", "ratio", "differ", "MiB"
    print(
        "{:22s} {:>14s} {:>8s} {:>8s} {:>8s} {:>8s} {:>8s} {:>7s} {:>8s} {:>8s}  peer".format("task", *titles)
    )
    for n_lat in (64, 128):
        for channels in (16, 32):
            for task, ours, theirs, difference in torch_harmonics_cases(n_lat, channels):
                grid = f"{n_lat}x{2 * n_lat}"
                report(task, grid, str(channels), "torch-harmonics", *compete(ours, theirs), difference)
    for nside in (64, 128, 256):
        for maps in (1, 16) if nside < 256 else (1, 8):
            for task, ours, theirs, difference in healpy_cases(nside, maps):
                name = task if maps == 1 else f"{task} of {maps}"
                report(name, f"nside {nside}", "1", "healpy", *compete(ours, theirs), difference, maps)
    rivals = ["degree loop", *(["s2cnn"] if importlib.util.find_spec("s2cnn") else [])]
    for index, case in enumerate(correlation.CASES):
        for rival in rivals:
            names = "geocnn", rival
            steps = [correlation.contender(name, case, BATCH_CORRELATION)[1] for name in names]
            peaks = [f"{float(in_new_process('--correlation', str(index), name)):.0f}" for name in names]
            off = correlation.difference(case) if rival == "degree loop" else None
            grid = "{}x{} -> {}x{}".format(*case.grids[0].shape, *case.grids[1].shape)
            channels = "{} -> {}".format(*case.channels)
            report(str(case), grid, channels, rival, *compete(*steps), off, peaks=peaks)
    for dtype, size in (("float32", 4), ("float64", 8)):
        seconds, peak, error = map(float, in_new_process("--memory", dtype).split())
        table = 1025**2 * 513 * size / 2**20
        print(
            f"degree 1024, {dtype}: round trip {seconds:.1f} s, peak {peak:.0f} MiB (table {table:.0f} MiB), "
            f"error {error:.1e}"
        )
        row = [f"round trip, peak {peak:.0f} MiB", "1025x2050", dtype, "geocnn", f"{1e3 * seconds:.0f}"]
        rows.append(dict(zip(COLUMNS, [*row, "", "", f"{error:.1e}"], strict=False)) | machine)
    with (ROOT / "benchmarks" / "harmonics.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        writer.writerows(rows)


if __name__ == "__main__":
    arguments = sys.argv[1:]
    sys.path[1:1] = [a for a in arguments if Path(a).is_dir()]
    if "--memory" in arguments:
        memory(arguments[-1])
    elif "--correlation" in arguments:
        correlation_memory(*arguments[-2:])
    else:
        main([])
