"""Settings: what a user can choose about a training, each with its default, a line of help and its range."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar, get_args, get_type_hints

from geocnn.errors import CheckpointError, GeocnnError
from geocnn.groups.field_type import FieldType
from geocnn.groups.planar import SO2
from geocnn.train.files import read_record, write_record
from geocnn.wording import counted

S = TypeVar("S", bound="LoopSettings")


@dataclass(frozen=True)
class Range:
    """The numbers from `least` to `most`, without the two where they are limits only.

    >>> 0 in Range(0, 1), 1.0 in Range(0, 1), 0 in POSITIVE, float("nan") in Range(0)
    (True, True, False, False)
    """

    least: float
    most: float = math.inf
    without_least: bool = False
    without_most: bool = False

    def __contains__(self, value: object) -> bool:
        if not isinstance(value, (int, float)) or not abs(value) < math.inf:
            return False
        above = value > self.least if self.without_least else value >= self.least
        return above and (value < self.most if self.without_most else value <= self.most)

    def __str__(self) -> str:
        if self.most == math.inf:
            return f"{'more than' if self.without_least else 'at least'} {self.least:,}"
        if self.without_least:
            return f"more than {self.least:,} and at most {self.most:,}"
        return f"{self.least:,} to {'below ' if self.without_most else ''}{self.most:,}"


POSITIVE = Range(0, without_least=True)
BELOW_ONE = Range(0, 1, without_most=True)

Allowed = Range | tuple[str, ...] | None
"""The range of a number, or of each number in a tuple; the list of allowed words; None allows all."""


def setting(
    default: Any, help: str, allowed: Allowed = None, may_change: bool = False, option: str = ""
) -> Any:
    """Make a dataclass field with help; `may_change` marks what a resumed run may choose anew.

    `option` is its name on the command line, where that is no name in Python.
    """
    return dataclasses.field(
        default=default,
        metadata={"help": help, "allowed": allowed, "may_change": may_change, "option": option},
    )


@dataclass(frozen=True, kw_only=True)
class LoopSettings:
    """Settings that the training loop itself needs, whatever it trains.

    Raises GeocnnError naming every setting that has another type than its default, or is out of its range;
    and if there is none, all that do not go together (`conflicts`).

    >>> LoopSettings(epochs=3).epochs
    3
    >>> LoopSettings(warmup=2, patience=0)
    Traceback (most recent call last):
    geocnn.errors.GeocnnError: the setting warmup is 0 to 1, got 2; the setting patience is at least 1, got 0
    """

    epochs: float = setting(2, "passes over the training set", Range(0, 1_000_000, without_least=True))
    batch_size: int = setting(32, "examples per step, over all devices together", Range(1))
    learning_rate: float = setting(0.01, "peak learning rate of AdamW", POSITIVE)
    weight_decay: float = setting(0.01, "decoupled weight decay of AdamW", Range(0))
    warmup: float = setting(
        0.1, "share of the steps in which the learning rate rises; then it falls as a cosine", Range(0, 1)
    )
    check_every: int = setting(
        100,
        "steps between validations, each with a checkpoint; in fact 0.75 to 1.5 times as many, "
        "so that they cut the training into equal parts",
        Range(1),
    )
    patience: int = setting(20, "stop after this many validations without a lower loss", Range(1))
    keep: str = setting(
        "best",
        "weights that are kept: best, of the lowest validation loss; last, of the last step, where the "
        "training comes to the end of its schedule",
        ("best", "last"),
    )
    max_minutes: float = setting(
        60.0,
        "stop each network's training after this time",
        Range(0, 10_000_000, without_least=True),
        may_change=True,
    )
    seed: int = setting(0, "random seed for weights, example order and data", Range(0, 2**31 - 1))
    precision: str = setting(
        "32-true", "Lightning precision", ("32-true", "bf16-mixed", "16-mixed", "64-true")
    )
    devices: str = setting("auto", "auto, cpu, a number of devices, or gpu:0,1", may_change=True)
    workers: int = setting(
        0, "processes per device that fetch batches ahead; 0: the training fetches them", Range(0, 100)
    )

    def __post_init__(self) -> None:
        kinds = get_type_hints(type(self))
        faults = [
            fault
            for field in dataclasses.fields(self)
            if (fault := _fault(field, getattr(self, field.name), kinds[field.name]))
        ] or self.conflicts()
        if faults:
            raise GeocnnError("; ".join(faults))

    def conflicts(self) -> list[str]:
        """Return one clause per fault in settings that are in range but do not go together."""
        return []


@dataclass(frozen=True, kw_only=True)
class RecipeSettings(LoopSettings):
    """Settings of every recipe. A recipe derives its own settings from this class."""

    train_size: int = setting(1000, "training examples", Range(1))
    val_size: int = setting(100, "validation examples", Range(1))
    test_size: int = setting(100, "test examples", Range(1))
    seeds: int = setting(
        1, "networks of each kind, with the random seeds seed, seed + 1, ... on the same data", Range(1, 1000)
    )
    baseline: bool = setting(False, "train also the recipe's baselines")

    @property
    def answers_together(self) -> bool:
        """Whether all networks of the first kind are the run's model, not the first of them alone."""
        return False

    @property
    def validation_batch(self) -> int:
        """Validation examples at a time, per device."""
        return 128

    @property
    def test_batch(self) -> int:
        """Test examples at a time; metrics are updated once for each such batch."""
        return 128


@dataclass(frozen=True, kw_only=True)
class SurfaceSettings(RecipeSettings):
    """Further settings of recipes with a steerable network on surfaces."""

    widths: tuple[str, ...] = setting(("8x0 + 4x1", "16x0 + 8x1"), "feature types, one per level")
    convs: tuple[int, ...] = setting((0, 1), "convolutions of each level", Range(0, 100))
    dropout: float = setting(
        0.0, "share of the features before the last layer that is dropped in training", BELOW_ONE
    )
    rings: int = setting(2, "radial functions of a kernel", Range(1, 100))
    radius: float = setting(2.5, "radius of a kernel", POSITIVE)
    stencil: str = setting(
        "log", "log: sources where they lie; exp: interpolated on a polar grid", ("log", "exp")
    )

    def conflicts(self) -> list[str]:
        return widths_conflicts(self.widths) + convs_conflicts(self.widths, self.convs)


def other(base: type[LoopSettings], name: str, default: Any, help: str = "", allowed: Allowed = None) -> Any:
    """Make the setting `name` of a base class with another default, and another help and range where given.

    >>> @dataclass(frozen=True, kw_only=True)
    ... class Long(LoopSettings):
    ...     epochs: float = other(LoopSettings, "epochs", 50)
    >>> Long().epochs
    50
    """
    (known,) = (field for field in dataclasses.fields(base) if field.name == name)
    changes = {"help": help or known.metadata["help"], "allowed": allowed or known.metadata["allowed"]}
    return dataclasses.field(default=default, metadata={**known.metadata, **changes})


def _fault(field: dataclasses.Field[Any], value: Any, kind: Any) -> str:
    """Describe the fault of a setting's value by itself, or return ""."""
    allowed, parts = field.metadata["allowed"], (value,)
    if isinstance(value, tuple) and get_args(kind):
        kind, parts = get_args(kind)[0], value
    named = f"the setting {field.name}"
    if not all(_is(part, kind) for part in parts):
        words = {bool: "yes or no", int: "a whole number", float: "a number", str: "text"}
        return f"{named} is {words.get(kind, 'a list')}, got {value!r}"
    if isinstance(allowed, Range) and not all(part in allowed for part in parts):
        return f"{named} is {allowed}, got {_listed(parts)}"
    if isinstance(allowed, tuple) and value not in allowed:
        return f"{named} is one of {', '.join(allowed)}, got '{value}'"
    return ""


def _is(value: Any, kind: Any) -> bool:
    if kind is float:
        return isinstance(value, (int, float)) and not isinstance(value, bool)
    return type(value) is kind


def _listed(parts: Sequence[Any]) -> str:
    return ", ".join(map(str, parts))


def save_settings(settings: LoopSettings, file: Path, recipe: str = "") -> None:
    """Write the settings of a run of the recipe with this name."""
    write_record({"recipe": recipe, **dataclasses.asdict(settings)}, file)


def recipe_of(file: Path) -> str:
    """Return the name of the recipe in a run's settings.json; "" in files of older versions.

    Raises CheckpointError if the file is damaged.
    """
    return str(read_record(file).get("recipe", ""))


def tuples(values: dict[str, Any]) -> dict[str, Any]:
    """Make tuples of the lists that JSON has in place of tuples.

    >>> tuples({"convs": [0, 1], "rings": 3})
    {'convs': (0, 1), 'rings': 3}
    """
    return {name: tuple(value) if isinstance(value, list) else value for name, value in values.items()}


def load_settings(kind: type[S], file: Path) -> S:
    """Read the settings of a run from `settings.json`.

    Raises CheckpointError if they are not of this kind, or damaged.
    """
    try:
        values = tuples(read_record(file))
        values.pop("recipe", None)
        return kind(**values)
    except (TypeError, GeocnnError) as error:
        raise CheckpointError(
            f"{file} does not hold {kind.__name__} ({error}); start a new run in another folder"
        ) from error


def resumed_settings(saved: S, chosen: dict[str, Any]) -> S:
    """Return the saved settings with what was chosen anew, as far as that leaves the result alone.

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


def convs_conflicts(widths: Sequence[str], convs: Sequence[int]) -> list[str]:
    """Return a fault unless there is one number of convolutions per width."""
    if len(convs) == len(widths):
        return []
    return [
        "the settings widths and convs go together, one number per width: "
        f"got {counted(len(widths), 'width')}, {counted(len(convs), 'conv')}"
    ]


def widths_conflicts(widths: Sequence[str]) -> list[str]:
    """Return one clause per fault: widths are 1 to 30 feature types of SO(2) that a machine can hold."""
    if not 1 <= len(widths) <= 30:
        return [f"the setting widths has a feature type for each of 1 to 30 levels, got {len(widths)}"]
    conflicts = []
    for width in widths:
        try:
            known = FieldType(width)
        except ValueError as error:
            conflicts.append(f"the setting widths: {error}")
            continue
        if known.group != SO2 or not 0 < known.dim < 10**9 or known.max_frequency > 100:
            conflicts.append(
                f"the setting widths: '{width:.40}' is no feature type such as 8x0 + 4x1 (frequencies to 100)"
            )
    return conflicts
