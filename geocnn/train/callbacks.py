"""What happens at the end of every stretch of training. Imports Lightning: import it inside functions."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lightning.pytorch import Callback, LightningModule, Trainer
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

from geocnn.train.files import save_weights
from geocnn.train.module import Classifier

if TYPE_CHECKING:
    from rich.console import Console


class Checkpoints(Callback):
    """Keeps last.ckpt, previous.ckpt and the weights of the lowest validation loss.

    Lightning writes to the system's temporary folder and moves the file, which is a slow copy if that is
    another file system: a kill then leaves half a checkpoint. So it is written beside the others and takes
    its name only when it is whole.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.best_val_loss = math.inf
        self.best_step = 0

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        assert isinstance(pl_module, Classifier)
        loss = float(trainer.callback_metrics["val_loss"])
        # Before the checkpoint, which holds this state: a kill between the two repeats the stretch and writes
        # the same again.
        if loss < self.best_val_loss:
            self.best_val_loss, self.best_step = loss, trainer.global_step
            if trainer.is_global_zero:
                save_weights(pl_module.network, self.folder / "best.safetensors")
        part, last, previous = (
            self.folder / name for name in ("next.ckpt.part", "last.ckpt", "previous.ckpt")
        )
        trainer.save_checkpoint(part)
        if trainer.is_global_zero:
            if last.exists():
                os.replace(last, previous)
            os.replace(part, last)

    def state_dict(self) -> dict[str, Any]:
        return {"best_val_loss": self.best_val_loss, "best_step": self.best_step}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.best_val_loss, self.best_step = state_dict["best_val_loss"], state_dict["best_step"]


class Progress(Callback):
    """One bar for the whole training; where the output is no terminal, one line a validation."""

    def __init__(self, console: Console, name: str, steps: int) -> None:
        self.console, self.name, self.steps = console, name, steps
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

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if not trainer.is_global_zero:
            return
        metrics = trainer.callback_metrics
        loss, accuracy = float(metrics["train_loss"]), 100 * float(metrics["val_accuracy"])
        scores = f"loss {loss:.3f}  validation {accuracy:.1f} %"
        if self.bar is not None:
            self.bar.update(self.task, scores=scores)
        else:
            self.console.print(
                f"{self.name}: step {trainer.global_step} of {self.steps}  {scores}", highlight=False
            )

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        if self.bar is not None:
            self.bar.stop()
            self.bar = None
