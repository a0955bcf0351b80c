"""Settings: what a user can choose about a training, each with its default and a line of help."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from geocnn.errors import CheckpointError, GeocnnError

S = TypeVar("S", bound="LoopSettings")


def setting(default: Any, help: str, may_change: bool = False) -> Any:
    """A dataclass field with help; `may_change` marks what a resumed run may choose anew."""
    return dataclasses.field(default=default, metadata={"help": help, "may_change": may_change})


@dataclass(frozen=True, kw_only=True)
class LoopSettings:
    """What the training loop itself needs, whatever it trains.

    >>> LoopSettings(epochs=3).epochs
    3
    """

    epochs: float = setting(2, "passes over the training set")
    batch_size: int = setting(32, "examples a step, over all devices together")
    learning_rate: float = setting(0.01, "peak learning rate of AdamW")
    weight_decay: float = setting(0.01, "decoupled weight decay of AdamW")
    warmup: float = setting(
        0.1, "share of the steps in which the learning rate rises; then it falls as a cosine"
    )
    check_every: int = setting(100, "steps between validations; each writes a checkpoint")
    patience: int = setting(20, "stop after this many validations without a lower loss")
    max_minutes: float = setting(60.0, "stop each network's training after this time", may_change=True)
    seed: int = setting(0, "of the weights, the order of examples and the rotations")
    precision: str = setting("32-true", "Lightning precision: 32-true, bf16-mixed, 16-mixed, 64-true")
    devices: str = setting("auto", "auto, cpu, a number of devices, or gpu:0,1", may_change=True)

    def __post_init__(self) -> None:
        positive = ("epochs", "batch_size", "learning_rate", "check_every", "patience", "max_minutes")
        for name in positive:
            if not getattr(self, name) > 0:
                raise GeocnnError(f"the setting {name} must be positive, got {getattr(self, name)}")
        if not 0 <= self.warmup <= 1:
            raise GeocnnError(f"the setting warmup is a share of the steps, 0 to 1, got {self.warmup}")


def save_settings(settings: LoopSettings, file: Path) -> None:
    file.write_text(json.dumps(dataclasses.asdict(settings), indent=2) + "\n")


def tuples(values: dict[str, Any]) -> dict[str, Any]:
    """JSON knows only lists where settings have tuples.

    >>> tuples({"convs": [0, 1], "rings": 3})
    {'convs': (0, 1), 'rings': 3}
    """
    return {name: tuple(value) if isinstance(value, list) else value for name, value in values.items()}


def load_settings(kind: type[S], file: Path) -> S:
    """The settings of a run, from `settings.json`. Raises CheckpointError if they are not of this kind."""
    try:
        return kind(**tuples(json.loads(file.read_text())))
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise CheckpointError(
            f"{file} does not hold {kind.__name__} ({error}); start a new run instead"
        ) from error


def resumed_settings(saved: S, chosen: dict[str, Any]) -> S:
    """The saved settings with what was chosen anew, as far as that leaves the result alone.

    Raises:
        CheckpointError: a choice differs from the saved run's and is not one of those that may change.

    >>> resumed_settings(LoopSettings(), {"devices": "cpu"}).devices
    'cpu'
    """
    free = {field.name for field in dataclasses.fields(saved) if field.metadata["may_change"]}
    for name, value in chosen.items():
        if name not in free and value != getattr(saved, name):
            started, now = (f"{v:g}" if isinstance(v, float) else v for v in (getattr(saved, name), value))
            raise CheckpointError(
                f"the run was started with {name} = {started}, not {now}; "
                f"resume without that option (only {', '.join(sorted(free))} may change) or start anew"
            )
    return dataclasses.replace(saved, **{name: value for name, value in chosen.items() if name in free})


def check_convs(widths: Sequence[str], convs: Sequence[int]) -> None:
    """Raises GeocnnError unless there is one number of convolutions for each width."""
    if len(convs) != len(widths):
        raise GeocnnError(
            f"the settings widths and convs go together, one number a width: got {len(widths)} widths, "
            f"{len(convs)} convs"
        )
