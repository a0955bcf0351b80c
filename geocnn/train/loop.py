"""The training loop: Lightning runs it, this file says how. Nothing here knows what is being trained."""

from __future__ import annotations

import dataclasses
import logging
import math
import signal
import threading
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import nn
from torch.utils.data import Dataset

from geocnn.errors import CheckpointError, GeocnnError
from geocnn.train.devices import find_devices
from geocnn.train.faults import place_of
from geocnn.train.files import (
    MODEL,
    WEIGHTS,
    checkpoint_weights,
    read_checkpoint,
    read_record,
    save_state,
    write_record,
)
from geocnn.train.results import METRICS, write_rows
from geocnn.train.score import Scorer
from geocnn.train.settings import LoopSettings

if TYPE_CHECKING:
    from rich.console import Console

RECORD = "training.json"
"""How a training ended; written last, with the checksums of the files that it leaves."""


@dataclass(frozen=True)
class Outcome:
    """How a training ended."""

    steps: int
    """Optimiser steps taken."""
    planned_steps: int
    """Steps of the whole schedule."""
    seconds: float
    """Time spent in training and validation, over all sessions of a resumed run."""
    stopped_by: str
    """"schedule", "early stopping" or "time cap"."""
    best_step: int
    """The step whose weights are kept: the one with the lowest validation loss, or the last one."""
    best_val_loss: float
    """The validation loss of the weights that are kept."""

    def __str__(self) -> str:
        share = f"{self.steps} of {self.planned_steps} steps in {self.seconds:.0f} s"
        return f"{share}, ended by the {self.stopped_by}; keeping the weights of step {self.best_step}"


def stretches(n: int, settings: LoopSettings) -> tuple[int, int]:
    """Cut the epochs into equal stretches; return (number of stretches, steps in each).

    A stretch has 0.75 to 1.5 times `check_every` steps, or all steps where there are fewer. The last one is
    never shorter, so up to one step per stretch more than `epochs` passes may be taken.

    >>> stretches(640, LoopSettings(epochs=1, batch_size=64, check_every=4))
    (2, 5)
    """
    steps = max(1, int(settings.epochs * max(1, n / settings.batch_size)))
    count = max(1, round(steps / settings.check_every))
    return count, math.ceil(steps / count)


def fit(
    network: nn.Module,
    score: Scorer,
    train: Dataset[Any],
    validation: Dataset[Any],
    settings: LoopSettings,
    folder: Path,
    console: Console,
    validation_batch: int = 128,
    save: Callable[[nn.Module], None] | None = None,
) -> Outcome:
    """Train a network in `folder`, going on from its last checkpoint if there is one.

    Every stretch of about `check_every` steps ends with a validation and a checkpoint. At the end the network
    has the weights of the lowest validation loss, or the last ones (`keep`). A checkpoint holds all that goes
    on from it: after a kill, other files are written anew.

    Args:
        network: its weights are changed.
        score: the loss of the network on a batch, and further figures, which are logged.
        train, validation: datasets whose `__getitems__` returns a batch.
        folder: holds last.ckpt, previous.ckpt, best.safetensors, metrics.csv, training.json and logs/.
        validation_batch: examples at a time and device; without gradients, many do not run faster.
        save: writes the trained network to model.json and model.safetensors in `folder`; without, there is
            none.

    Raises:
        CheckpointError: there are checkpoints but none can be read.
        GeocnnError: the devices are not there, or the loss was never finite.
        SystemExit: the training was interrupted (code 130) or terminated (code 143), and can be resumed.
    """
    from lightning.pytorch import Trainer, seed_everything
    from lightning.pytorch.callbacks import Timer
    from lightning.pytorch.loggers import TensorBoardLogger
    from lightning.pytorch.utilities.exceptions import SIGTERMException

    from geocnn.train.callbacks import Checkpoints, History, Patience, Progress
    from geocnn.train.module import Examples, Learner

    _quieten()
    seed_everything(settings.seed, verbose=False)
    folder.mkdir(parents=True, exist_ok=True)
    checkpoint = latest_checkpoint(folder, network, console)
    n = len(train)  # pyright: ignore[reportArgumentType]
    count, steps = stretches(n, settings)
    session = f"session-{len(list(folder.glob('logs/session-*')))}"
    history = History()
    checkpoints = Checkpoints(folder, history, settings.keep)
    timer = Timer(timedelta(minutes=settings.max_minutes), interval="epoch", verbose=False)
    accelerator, devices = find_devices(settings.devices)
    trainer = Trainer(
        accelerator=accelerator,
        devices=devices,
        precision=settings.precision,  # pyright: ignore[reportArgumentType]
        max_epochs=count,
        callbacks=[
            Patience(settings.patience),
            timer,
            checkpoints,
            Progress(console, folder.name, count * steps),
        ],
        logger=[history, TensorBoardLogger(folder, name="logs", version=session)],
        log_every_n_steps=max(1, min(10, steps)),
        num_sanity_val_steps=0,
        use_distributed_sampler=False,
        enable_checkpointing=False,
        enable_model_summary=False,
        enable_progress_bar=False,
    )
    examples = Examples(train, validation, settings, steps, validation_batch)
    learner = Learner(network, score, settings, count * steps, min(settings.batch_size, n))
    try:
        with _interruptible():
            trainer.fit(learner, examples, ckpt_path=None if checkpoint is None else str(checkpoint))
    except SIGTERMException:  # a SystemExit without a code, which would count as success
        _warn(f"{folder.name} was stopped by SIGTERM; go on with --resume", console)
        raise SystemExit(128 + signal.SIGTERM) from None
    except KeyboardInterrupt:
        _warn(f"{folder.name} was interrupted; its last checkpoint is kept, go on with --resume", console)
        raise SystemExit(128 + signal.SIGINT) from None
    if not history.rows:
        raise GeocnnError(
            f"'{folder.name}' had no validation within max_minutes ({settings.max_minutes:g}); raise it"
        )
    if not math.isfinite(checkpoints.best_val_loss):
        raise GeocnnError(
            f"the validation loss of '{folder.name}' was never finite; lower learning_rate "
            f"({settings.learning_rate:g}) or weight_decay ({settings.weight_decay:g})"
        )
    network.load_state_dict(checkpoints.best_weights)
    remaining = timer.time_remaining("train")
    outcome = Outcome(
        steps=trainer.global_step,
        planned_steps=count * steps,
        seconds=round(timer.time_elapsed("train"), 1),
        stopped_by="schedule"
        if trainer.global_step >= count * steps
        else "time cap"
        if remaining is not None and remaining <= 0
        else "early stopping",
        best_step=checkpoints.best_step,
        best_val_loss=checkpoints.best_val_loss,
    )
    if trainer.is_global_zero:
        save_state(checkpoints.best_weights, folder / "best.safetensors")
        write_rows(history.rows, folder / METRICS)
        files = [folder / METRICS]
        if save is not None:
            save(network)
            files += [folder / WEIGHTS, folder / MODEL]
        write_record(dataclasses.asdict(outcome), folder / RECORD, files)
    return outcome


def try_step(
    network: nn.Module, score: Scorer, train: Dataset[Any], validation: Dataset[Any], settings: LoopSettings
) -> None:
    """Take one step and score one batch, on one device, without a folder. The weights change.

    Raises GeocnnError if that fails: no run with these settings can start.
    """
    from lightning.pytorch import Trainer

    from geocnn.train.module import Examples, Learner

    _quieten()
    accelerator, devices = find_devices(settings.devices)
    batch_size = min(settings.batch_size, len(train))  # pyright: ignore[reportArgumentType]
    trainer = Trainer(
        accelerator=accelerator,
        devices=devices[:1] if isinstance(devices, list) else 1,
        precision=settings.precision,  # pyright: ignore[reportArgumentType]
        fast_dev_run=1,
        use_distributed_sampler=False,
        enable_model_summary=False,
        enable_progress_bar=False,
    )
    try:
        with _interruptible():
            trainer.fit(
                Learner(network, score, settings, 1, batch_size),
                Examples(train, validation, settings, 1, settings.batch_size),
            )
    except GeocnnError as error:
        place = place_of(error)
        raise (type(error)(f"{error} ({place})") if place else error) from error
    except Exception as error:
        reason = f"{type(error).__name__}: {' '.join(str(error).split())}"
        parts = "; ".join(part for part in (reason, place_of(error)) if part)
        raise GeocnnError(f"the first step with these settings fails ({parts})") from error


def fit_each(
    names: Sequence[str],
    folder: Path,
    console: Console,
    fit_one: Callable[[str], Outcome],
    max_minutes: float,
) -> dict[str, Outcome]:
    """Return the outcomes of trainings in the folders of these names: the old ones of those that have ended,
    new ones of `fit_one`. One that ended at an earlier time cap, below `max_minutes`, goes on.
    """
    outcomes = {}
    for name in names:
        outcome, again = finished(folder / name, console), "already trained, "
        if outcome is None or (outcome.stopped_by == "time cap" and outcome.seconds < 60 * max_minutes):
            outcome, again = fit_one(name), ""
        console.print(f"{name}: {again}{outcome}", highlight=False, markup=False, soft_wrap=True)
        outcomes[name] = outcome
    return outcomes


def finished(folder: Path, console: Console | None = None) -> Outcome | None:
    """Return the outcome of a training that came to its end in `folder`, or None.

    It is None too where a file that it wrote at its end is damaged: that is written anew from the checkpoint,
    and `console` shows a warning.
    """
    if not (folder / RECORD).is_file():
        return None
    try:
        return Outcome(**read_record(folder / RECORD))
    except (CheckpointError, TypeError) as error:
        if console is not None:
            _warn(f"{error}; writing it anew from the checkpoint", console)
        return None


def latest_checkpoint(folder: Path, network: nn.Module, console: Console) -> Path | None:
    """Find the newest whole checkpoint of this network; warn if that is not the last one written.

    Raises:
        CheckpointError: there are checkpoints but none of them is.
    """
    files = [file for file in (folder / "last.ckpt", folder / "previous.ckpt") if file.is_file()]
    for file in files:
        try:
            _check_belongs(read_checkpoint(file), network, file)
        except CheckpointError as error:
            _warn(f"{error}; trying the one before it", console)
            continue
        console.print(f"continuing {folder.name} from {file}", highlight=False, markup=False, soft_wrap=True)
        return file
    if files:
        raise CheckpointError(
            f"no checkpoint in {folder} can be used; delete that folder to train it from the start"
        )
    return None


def _check_belongs(checkpoint: dict[str, Any], network: nn.Module, file: Path) -> None:
    """Raise CheckpointError unless training can go on from it."""
    states = (network.state_dict(), checkpoint_weights(checkpoint))
    ours, shapes = ({name: tensor.shape for name, tensor in state.items()} for state in states)
    if ours != shapes:
        raise CheckpointError(f"{file} cannot be used: it is of another network")
    if "best_weights" not in checkpoint.get("callbacks", {}).get("Checkpoints", {}):
        raise CheckpointError(f"{file} cannot be used: another version of geocnn wrote it")


def _warn(text: str, console: Console) -> None:
    console.print(text, style="yellow", highlight=False, markup=False, soft_wrap=True)


@contextmanager
def _interruptible() -> Iterator[None]:
    """Raise KeyboardInterrupt where Lightning, once it has tidied up, exits with code 1 instead."""
    handler = signal.getsignal(signal.SIGINT)
    try:
        yield
    except SystemExit as stop:
        if not isinstance(stop.__context__, KeyboardInterrupt):
            raise
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGINT, handler)
        raise KeyboardInterrupt from None


def _quieten() -> None:
    """Hide advice that does not apply: on workers (batches come whole), on Lightning's own deprecations."""
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    logging.getLogger("lightning.fabric").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module=r"lightning\..*")
