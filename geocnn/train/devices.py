"""The devices of a run: which a setting names, and whether the machine has them and the memory."""

from __future__ import annotations

import os

import torch

from geocnn.errors import GeocnnError
from geocnn.train.memory import Need, check_memory
from geocnn.train.settings import LoopSettings
from geocnn.wording import counted


def find_devices(devices: str) -> tuple[str, int | list[int]]:
    """Lightning's accelerator and devices for "auto", "cpu", "2" or "gpu:0,1".

    Raises:
        GeocnnError: not such a word, or a GPU is asked for where there is none.

    >>> find_devices("cpu")
    ('cpu', 1)
    """
    gpus = torch.cuda.device_count()
    if devices == "cpu" or (devices == "auto" and not gpus):
        return "cpu", 1
    if devices == "auto":
        return "gpu", gpus
    if devices.isdecimal() and int(devices) > 0:
        if 0 < gpus < int(devices):
            raise GeocnnError(
                f"devices = '{devices}', but this machine has {counted(gpus, 'CUDA GPU')}; use auto or cpu"
            )
        return ("gpu" if gpus else "cpu"), int(devices)
    if devices.startswith("gpu:") and all(part.isdecimal() for part in devices[4:].split(",")):
        chosen = sorted({int(part) for part in devices[4:].split(",")})
        if max(chosen) >= gpus:
            raise GeocnnError(
                f"devices = '{devices}', but this machine has {counted(gpus, 'CUDA GPU')}; use auto or cpu"
            )
        return "gpu", chosen
    raise GeocnnError(
        f"devices = '{devices}' is not understood; give auto, cpu, a number of devices, or gpu:0,1"
    )


def check_machine(settings: LoopSettings, need: Need | None) -> None:
    """Raise GeocnnError where this machine lacks the devices, the precision or the memory."""
    accelerator, devices = find_devices(settings.devices)
    if accelerator == "cpu" and settings.precision == "16-mixed":
        raise GeocnnError("precision = '16-mixed' needs a GPU; use bf16-mixed or 32-true on CPU")
    processes = len(devices) if isinstance(devices, list) else devices
    if need is not None:
        check_memory(need, processes, accelerator == "gpu")


def inference_device(devices: str) -> torch.device:
    """Return the one device on which a trained network is evaluated."""
    accelerator, chosen = find_devices(devices)
    if accelerator == "cpu":
        return torch.device("cpu")
    return torch.device("cuda", chosen[0] if isinstance(chosen, list) else 0)


def is_main_process() -> bool:
    """Return whether this is not a process that Lightning started for a further device."""
    return int(os.environ.get("LOCAL_RANK", 0)) == 0 and int(os.environ.get("RANK", 0)) == 0
