"""Patches as an iterable Dataset of PyTorch, which this module alone needs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from torch.utils.data import IterableDataset, get_worker_info

if TYPE_CHECKING:
    from npczarr.training.batches import Patches
    from npczarr.training.filling import Batch


class IterablePatches(IterableDataset):
    """Batches in order; the workers of a DataLoader take turns, so that any number of them gives the same."""

    def __init__(self, patches: Patches) -> None:
        self.patches = patches

    def __len__(self) -> int:
        return len(self.patches)

    def set_epoch(self, epoch: int) -> None:
        """Go to an epoch, before each iteration of a DataLoader; as of :class:`npczarr.Patches`."""
        self.patches.set_epoch(epoch)

    def __iter__(self) -> Iterator[Batch]:
        worker = get_worker_info()
        if worker is None:
            yield from self.patches
        else:
            self.patches.next_epoch()
            for number in range(worker.id, len(self.patches), worker.num_workers):
                yield self.patches[number]
