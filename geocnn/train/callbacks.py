"""Callbacks at the end of every stretch. They import Lightning: import this file inside functions."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import EarlyStopping
from lightning.pytorch.callbacks.early_stopping import EarlyStoppingReason
from lightning.pytorch.loggers import Logger
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar
from torch import Tensor

from geocnn.files import UNFINISHED, settle
from geocnn.train.files import save_state, weights_of
from geocnn.train.module import Learner
from geocnn.train.results import METRICS, write_rows

if TYPE_CHECKING:
    from rich.console import Console


class History(Logger):
    """Keeps what is logged, one row per step. The checkpoint holds it: a resumed training neither loses rows
    nor has them twice.
    """

    def __init__(self) -> None:
        super().__init__()
        self.rows: list[dict[str, float]] = []

    @property
    def name(self) -> str:
        return "history"

    @property
    def version(self) -> str:
        return ""

    def log_metrics(self, metrics: Mapping[str, Any], step: int | None = None) -> None:
        row = {name: float(value) for name, value in metrics.items()}
        self.rows.append(row if step is None else row | {"step": float(step)})

    def log_hyperparams(self, params: Any, *_: Any, **__: Any) -> None:
        pass


class Patience(EarlyStopping):
    """Stops after `patience` validations without a lower loss, or after a loss that is not finite. A training
    that was killed after it had stopped stays stopped.

    It decides when validation ends: before the checkpoint, which holds the decision.
    """

    def __init__(self, patience: int) -> None:
        super().__init__("val_loss", patience=patience, check_on_train_epoch_end=False)

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        trainer.should_stop |= self.stopping_reason is not EarlyStoppingReason.NOT_STOPPED


class Checkpoints(Callback):
    """Keeps last.ckpt, previous.ckpt and the weights of the lowest validation loss, or with `keep` "last"
    those of the last step, where the training gets there.

    Lightning writes to the system's temporary folder and moves the file, which is a slow copy if that is
    another file system: a kill then leaves half a checkpoint. So it is written beside the others and takes
    its name only when it is whole.
    """

    def __init__(self, folder: Path, history: History, keep: str) -> None:
        self.folder, self.history, self.keep = folder, history, keep
        self.best_val_loss = math.inf
        self.best_step = 0
        self.best_weights: dict[str, Tensor] = {}

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        assert isinstance(pl_module, Learner)
        loss = float(trainer.callback_metrics["val_loss"])
        ends = trainer.current_epoch + 1 == trainer.max_epochs
        if loss < self.best_val_loss or (self.keep == "last" and ends and math.isfinite(loss)):
            self.best_val_loss, self.best_step = loss, trainer.global_step
            self.best_weights = weights_of(pl_module.network)
            if trainer.is_global_zero:
                save_state(self.best_weights, self.folder / "best.safetensors")
        part, last, previous = (
            self.folder / name for name in (f"next.ckpt{UNFINISHED}", "last.ckpt", "previous.ckpt")
        )
        trainer.save_checkpoint(part)
        if trainer.is_global_zero:
            if last.exists():
                os.replace(last, previous)
            settle(part, last)
            write_rows(self.history.rows, self.folder / METRICS)

    def state_dict(self) -> dict[str, Any]:
        return {
            "best_val_loss": self.best_val_loss,
            "best_step": self.best_step,
            "best_weights": self.best_weights,
            "rows": self.history.rows,
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.best_val_loss, self.best_step = state_dict["best_val_loss"], state_dict["best_step"]
        self.best_weights, self.history.rows = state_dict["best_weights"], state_dict["rows"]


class Progress(Callback):
    """One bar for the whole training; where the output is no terminal, it prints one line per
    validation, and one per half minute without.
    """

    def __init__(self, console: Console, name: str, steps: int, pause: float = 30.0) -> None:
        self.console, self.name, self.steps, self.pause = console, name, steps, pause
        self.last_line = time.monotonic()
        self.bar: Bar | None = None

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if not (trainer.is_global_zero and self.console.is_terminal):
            return
        self.bar = Bar(
            TextColumn("{task.description}", style="bold", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[scores]}", markup=False),
            console=self.console,
        )
        self.task = self.bar.add_task(self.name, total=self.steps, completed=trainer.global_step, scores="")
        self.bar.start()

    def on_train_batch_end(self, trainer: Trainer, *_: Any) -> None:
        if self.bar is not None:
            self.bar.update(self.task, completed=trainer.global_step)
        elif trainer.is_global_zero and time.monotonic() - self.last_line >= self.pause:
            self._print(f"step {trainer.global_step} of {self.steps}")

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if not trainer.is_global_zero:
            return
        metrics = trainer.callback_metrics
        figures = {name: float(value) for name, value in metrics.items() if name.startswith("val_")}
        shown = ", ".join(f"{name.removeprefix('val_')} {value:.4g}" for name, value in figures.items())
        scores = f"loss {float(metrics['train_loss']):.3f}  validation: {shown}"
        if self.bar is not None:
            self.bar.update(self.task, scores=scores)
        else:
            self._print(f"step {trainer.global_step} of {self.steps}  {scores}")

    def _print(self, line: str) -> None:
        self.last_line = time.monotonic()
        self.console.print(f"{self.name}: {line}", highlight=False, soft_wrap=True)

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        if self.bar is not None:
            self.bar.stop()
            self.bar = None
