"""The Lightning parts of the loop: learner and data. Imports Lightning: import this file inside functions."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from jaxtyping import Float
from lightning.pytorch import LightningDataModule, LightningModule
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, Sampler

from geocnn.errors import BadValueError, GeocnnError
from geocnn.geometry.core.values import check_batch
from geocnn.train.score import Scorer
from geocnn.train.settings import LoopSettings


class Learner(LightningModule):
    """Trains a network towards a lower loss of `score`: AdamW, linear warm-up, cosine to zero.

    Every example counts once, however many processes share the batches: a batch comes with the number of
    examples in it, which weighs the means of `score`. A process without examples gets one of weight 0.
    """

    def __init__(
        self, network: nn.Module, score: Scorer, settings: LoopSettings, steps: int, batch_size: int
    ) -> None:
        super().__init__()
        self.network = network
        self.score = score
        self.settings = settings
        self.steps = steps
        self.batch_size = batch_size
        self.names: list[str] = []
        self.totals: Tensor | None = None

    def on_train_epoch_start(self) -> None:
        # Dropout draws from the global generator; seeded by stretch, a resumed run draws the same.
        torch.manual_seed(self.settings.seed * 1_000_003 + self.current_epoch)

    def training_step(self, share: tuple[Any, int], batch_index: int) -> Float[Tensor, ""]:
        batch, examples = share
        loss, figures = self.score(self.network, batch)
        # gradients become means over processes: this makes them the mean over the batch
        weight = examples * self.trainer.world_size / self.batch_size
        several = self.trainer.world_size > 1
        self.log("train_loss", loss * weight, prog_bar=True, sync_dist=several)
        for name, figure in figures.items():
            self.log(f"train_{name}", figure * weight, sync_dist=several)
        self.log("learning_rate", self.trainer.optimizers[0].param_groups[0]["lr"])
        return loss * weight

    def on_validation_epoch_start(self) -> None:
        if self.trainer.world_size > 1:
            # running statistics are each process's own: all look at the model that the first one keeps
            for buffer in self.network.buffers():
                torch.distributed.broadcast(buffer, 0)
        self.totals = None

    def validation_step(self, share: tuple[Any, int], batch_index: int) -> None:
        batch, examples = share
        loss, figures = self.score(self.network, batch)
        self.names = ["loss", *figures]
        total = examples * torch.stack([loss, *figures.values(), torch.ones_like(loss)])
        self.totals = total if self.totals is None else self.totals + total

    def on_validation_epoch_end(self) -> None:
        *totals, examples = self.trainer.strategy.reduce(self.totals, reduce_op="sum")
        for name, total in zip(self.names, totals, strict=True):
            self.log(f"val_{name}", total / examples, prog_bar=True)

    def configure_optimizers(self) -> dict[str, object]:
        chosen = self.settings
        optimizer = torch.optim.AdamW(
            self.parameters(), lr=chosen.learning_rate, weight_decay=chosen.weight_decay
        )
        factor = LearningRateFactor(self.steps, chosen.warmup)
        scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, factor)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}


class LearningRateFactor:
    """Step -> share of the peak learning rate: linear over the warm-up, then a cosine to 0 at `steps`.

    This is a class, not a closure: LambdaLR stores a callable's attributes in the checkpoint, and these are
    plain numbers.

    >>> factor = LearningRateFactor(100, 0.1)
    >>> [round(factor(step), 3) for step in (0, 9, 55, 100)]
    [0.1, 1.0, 0.5, 0.0]
    """

    def __init__(self, steps: int, warmup: float) -> None:
        self.steps = steps
        self.warmup_steps = warmup * steps

    def __call__(self, step: int) -> float:
        if step < self.warmup_steps:
            return min(1.0, (step + 1) / self.warmup_steps)
        done = (step - self.warmup_steps) / max(self.steps - self.warmup_steps, 1.0)
        return 0.5 * (1.0 + math.cos(math.pi * min(done, 1.0)))


class Stretch(Sampler[list[int]]):
    """Batches of an endless stream of seeded shuffles, one stretch of it at a time.

    The stream is a function of (n, batch_size, seed) alone: pass k is the permutation seeded by (seed, k),
    cut into whole batches. Lightning's "epoch" is a stretch of `steps` batches; `set_epoch` says which. So a
    resumed run, which starts at a stretch, sees the very batches the killed one would have. With several
    devices each takes its share of every batch, which may be empty.

    `generator` seeds the workers that fetch the batches; it too is a function of the seed, the stretch and
    the device.

    >>> stretch = Stretch(n=10, batch_size=5, steps=1, seed=0)
    >>> stretch.set_epoch(1); second = list(stretch)
    >>> stretch.set_epoch(0); sorted(list(stretch)[0] + second[0])
    [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]
    """

    def __init__(
        self, n: int, batch_size: int, steps: int, seed: int, rank: int = 0, world_size: int = 1
    ) -> None:
        self.n, self.batch_size, self.steps, self.seed = n, min(batch_size, n), steps, seed
        self.rank, self.world_size = rank, world_size
        self.generator = torch.Generator()
        self.set_epoch(0)

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch
        self.generator.manual_seed((self.seed * 1_000_003 + epoch) * 1_003 + self.rank)

    def __len__(self) -> int:
        return self.steps

    def __iter__(self) -> Iterator[list[int]]:
        batches_per_pass = self.n // self.batch_size
        known, order = -1, torch.empty(0, dtype=torch.int64)
        for step in range(self.epoch * self.steps, (self.epoch + 1) * self.steps):
            number, batch = divmod(step, batches_per_pass)
            if number != known:
                generator = torch.Generator().manual_seed(self.seed * 1_000_003 + number)
                known, order = number, torch.randperm(self.n, generator=generator)
            first = batch * self.batch_size
            yield order[first : first + self.batch_size][self.rank :: self.world_size].tolist()


class Examples(LightningDataModule):
    """A training and a validation set, fetched batch by batch through their `__getitems__`."""

    def __init__(
        self,
        train: Dataset[Any],
        validation: Dataset[Any],
        settings: LoopSettings,
        steps: int,
        validation_batch: int,
    ) -> None:
        super().__init__()
        self.train, self.validation, self.settings, self.steps = train, validation, settings, steps
        self.validation_batch = validation_batch

    def train_dataloader(self) -> DataLoader[Any]:
        trainer = self.trainer
        assert trainer is not None
        stretch = Stretch(
            n=len(self.train),  # pyright: ignore[reportArgumentType]
            batch_size=self.settings.batch_size,
            steps=self.steps,
            seed=self.settings.seed,
            rank=trainer.global_rank,
            world_size=trainer.world_size,
        )
        # Lightning sets it again, but only after workers have begun to fetch the first batches
        stretch.set_epoch(trainer.fit_loop.epoch_progress.current.processed)  # pyright: ignore[reportAttributeAccessIssue, reportOptionalMemberAccess]
        return DataLoader(
            _Batched(self.train),
            sampler=stretch,
            batch_size=None,
            generator=stretch.generator,
            num_workers=self.settings.workers,
        )

    def val_dataloader(self) -> DataLoader[Any]:
        trainer = self.trainer
        assert trainer is not None
        n, together = len(self.validation), self.validation_batch * trainer.world_size  # pyright: ignore[reportArgumentType]
        batches = [range(first, min(first + together, n)) for first in range(0, n, together)]
        own = [batch[trainer.global_rank :: trainer.world_size] for batch in batches]
        return DataLoader(
            _Batched(self.validation), sampler=own, batch_size=None, num_workers=self.settings.workers
        )

    def on_before_batch_transfer(self, batch: tuple[Any, int], dataloader_idx: int) -> tuple[Any, int]:
        if isinstance(batch[0], GeocnnError):
            raise batch[0]
        return batch


class _Batched(Dataset[Any]):
    """A dataset whose items are (whole batch, number of its examples that count): nothing is collated.

    A GeocnnError is returned in place of the batch, for the loop to raise: raised by a worker process, it
    would reach the user as a traceback. A batch with values that mean no value becomes a BadValueError. If
    the dataset makes batches on another device, only the first is checked: a check waits for the device.
    """

    def __init__(self, dataset: Dataset[Any]) -> None:
        self.dataset = dataset
        self.is_first = True

    def __getitem__(self, index: Sequence[int]) -> tuple[Any, int]:
        chosen = list(index) or [0]  # a network takes no empty batch
        try:
            batch = self.dataset.__getitems__(chosen)  # pyright: ignore[reportAttributeAccessIssue]
        except GeocnnError as error:
            return error, len(index)
        try:
            check_batch(batch, device_too=self.is_first)
        except BadValueError as error:
            return BadValueError(f"examples {chosen[:8]} of the data set: {error}"), len(index)
        self.is_first = False
        return batch, len(index)
