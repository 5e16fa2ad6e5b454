"""Train a small 3-D U-Net to outline the tumor, from a store and by ``npc.patches``, on the CPU.

Usage: python train.py [--steps 200] [--patients 24] [--store STORE]

Without a store, a synthetic cohort is made. Three quarters of the subjects train, the others are only scored. Printed
are the Dice coefficient of each held-out patient, and the share of the training that was spent waiting for data.
By default that is a mean Dice of 0.60 to 0.66 after one minute of processor time, 0.3 % of it waiting (0.70 after 600
steps). Batches are the same everywhere; how PyTorch rounds depends on the processor and the number of threads.
Needs PyTorch (``pip install torch``); without it, the script says so and ends.
"""

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np

import npczarr as npc

try:
    import torch
    from torch import nn
    from torch.nn import functional
except ImportError:
    print("examples/train.py needs PyTorch, which is not installed: pip install torch")
    raise SystemExit(0) from None

SEQUENCES = ("T1WI", "T2WI", "CE-T1WI")  # the mask that is learnt is that of the last
SIZE = (8, 48, 48)
BATCH = 4


def block(inputs: int, outputs: int) -> nn.Sequential:
    layers = []
    for channels in (inputs, outputs):
        layers += [nn.Conv3d(channels, outputs, 3, padding=1), nn.BatchNorm3d(outputs), nn.ReLU()]
    return nn.Sequential(*layers)


class UNet(nn.Module):
    """Three levels; slices are thick, so only rows and columns are halved."""

    def __init__(self, channels: int, width: int = 8) -> None:
        super().__init__()
        self.first, self.second = block(channels, width), block(width, 2 * width)
        self.bottom = block(2 * width, 4 * width)
        self.up_second, self.up_first = block(6 * width, 2 * width), block(3 * width, width)
        self.last = nn.Conv3d(width, 1, 1)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return (batch, z, y, x) logits of tumor; rows and columns must be multiples of 4."""
        first = self.first(images)
        second = self.second(functional.max_pool3d(first, (1, 2, 2)))
        bottom = self.bottom(functional.max_pool3d(second, (1, 2, 2)))
        second = self.up_second(torch.cat([functional.interpolate(bottom, scale_factor=(1, 2, 2)), second], 1))
        first = self.up_first(torch.cat([functional.interpolate(second, scale_factor=(1, 2, 2)), first], 1))
        return self.last(first)[:, 0]


def loss_of(logits: torch.Tensor, tumor: torch.Tensor) -> torch.Tensor:
    """Cross entropy and soft Dice."""
    chance = torch.sigmoid(logits)
    dice = (2 * (chance * tumor).sum() + 1) / (chance.sum() + tumor.sum() + 1)
    return functional.binary_cross_entropy_with_logits(logits, tumor) + 1 - dice


def train(store: Path, steps: int) -> tuple[UNet, float]:
    """Train on the subjects of the part ``train``; return the network and the share of time that it waited."""
    batches = npc.patches(
        store, size=SIZE, batch_size=BATCH, sequences=SEQUENCES, where="split == 'train'", foreground=0.5, steps=steps,
        threads=1,
    )  # fmt: skip
    print(f"training on {len(batches.subjects)} patients, {steps} steps of {BATCH} patches of {SIZE}")
    torch.manual_seed(0)
    network = UNet(len(SEQUENCES))
    optimizer = torch.optim.Adam(network.parameters(), lr=3e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 1e-2, total_steps=steps)
    _ = batches[0]  # the kernel is compiled now
    begun, waited, todo = time.perf_counter(), 0.0, iter(batches)
    for _ in range(steps):
        asked = time.perf_counter()
        batch = next(todo)
        waited += time.perf_counter() - asked
        images, masks = torch.from_dlpack(batch.images), torch.from_dlpack(batch.masks)
        loss = loss_of(network(images), (masks[:, -1] > 0).float())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        if batch.step % 50 == 49 or batch.step == steps - 1:
            print(f"step {batch.step + 1}: loss {loss.item():.3f}")
    return network, waited / (time.perf_counter() - begun)


def held_out_dice(store: Path, network: UNet) -> dict[str, float]:
    """Outline the tumor in whole scans of the part ``test``: a patch as large as the largest of them holds each."""
    ds = npc.open(store)
    shapes = ds["shape"].sel(sequence=SEQUENCES[-1]).values
    size = tuple(int(-(-n // 4) * 4) for n in shapes.max(axis=0))
    whole = npc.patches(
        store, size=size, batch_size=1, sequences=SEQUENCES, where="split == 'test'", foreground=0
    )  # fmt: skip
    found = {}
    network.eval()
    with torch.no_grad():
        for batch in whole:
            predicted = (network(torch.from_dlpack(batch.images))[0] > 0).numpy().astype(np.uint8)
            (patient,) = batch.patients
            spacing = ds["spacing"].sel(patient=patient, sequence=SEQUENCES[-1]).values
            found[patient] = npc.compare_masks(predicted, batch.masks[0, -1], spacing=tuple(spacing))["dice"]
    return found


def synthetic(folder: Path, patients: int) -> Path:
    npc.make_cohort(folder / "cohort", patients=patients, workers=0, reliability=False)
    npc.convert(folder / "cohort/primary_data", folder / "npc.zarr", workers=0)
    npc.resample_store(folder / "npc.zarr", folder / "train.zarr", like=SEQUENCES[-1], purpose="training", workers=0)
    npc.split(folder / "train.zarr", shares={"train": 0.75, "test": 0.25}, stratify="t_stage")
    return folder / "train.zarr"


def main(store: Path, steps: int) -> None:
    network, share = train(store, steps)
    dice = held_out_dice(store, network)
    print("Dice of held-out patients: " + ", ".join(f"{p} {d:.2f}" for p, d in sorted(dice.items())))
    mean = np.mean(list(dice.values()))
    print(f"mean Dice {mean:.3f} of {len(dice)} patients; {share:.1%} of the time waiting for data")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--patients", type=int, default=24, help="of the synthetic cohort")
    parser.add_argument("--store", type=Path, help="made by npczarr resample --for training, with a column 'split'")
    options = parser.parse_args()
    if options.store:
        main(options.store, options.steps)
    else:
        with tempfile.TemporaryDirectory() as folder:
            main(synthetic(Path(folder), options.patients), options.steps)
