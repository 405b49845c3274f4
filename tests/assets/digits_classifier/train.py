"""Trains the judge of the demo model's images: a small network that reads handwritten digits.

Writes classifier.safetensors and training_images.safetensors into this folder; README.md says
what is in them. Trained on real digits only, and not on those held out, so that its accuracy means something.

    python train.py [--steps N] [--out FOLDER]

Packages: torch, numpy, scikit-learn, safetensors. (pip install torch numpy scikit-learn safetensors)
"""

import argparse
import math
import sys
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).resolve().parents[3] / "config/models/digits"))
import data  # noqa: E402

SEED = 99


class Classifier(nn.Module):
    """[N, 1, 8, 8] pixels in -1..1 -> [N, 10] logits."""

    def __init__(self) -> None:
        super().__init__()
        self.fc1 = nn.Linear(64, 128)
        self.fc2 = nn.Linear(128, 64)
        self.fc3 = nn.Linear(64, 10)

    def forward(self, pixels: Tensor, dropout: float = 0.0) -> Tensor:
        hidden = F.dropout(F.relu(self.fc1(pixels.flatten(1))), dropout, self.training)
        hidden = F.dropout(F.relu(self.fc2(hidden)), dropout, self.training)
        return self.fc3(hidden)


def train(pixels: Tensor, labels: Tensor, steps: int) -> Classifier:
    torch.manual_seed(SEED)
    generator = torch.Generator().manual_seed(SEED + 1)
    classifier = Classifier()
    optimiser = torch.optim.AdamW(classifier.parameters(), lr=3e-3, weight_decay=0.02)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda i: 0.5 * (1 + math.cos(math.pi * i / steps)))
    for _ in range(steps):
        chosen = torch.randint(len(pixels), (256,), generator=generator)
        batch = data.augment(pixels[chosen], generator, shift=0.4, rotation=12, scale=0.12, shear=0.12)
        batch = batch + 0.1 * torch.randn(batch.shape, generator=generator)
        loss = F.cross_entropy(classifier(batch, dropout=0.1), labels[chosen], label_smoothing=0.05)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
    return classifier.eval()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=6000)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent)
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)

    values, labels = data.images()
    test = data.held_out()
    pixels = data.to_pixels(values)
    classifier = train(pixels[~test], labels[~test].long(), arguments.steps)
    with torch.inference_mode():
        right = classifier(pixels).argmax(1) == labels
    print(f"held out {right[test].sum()} of {test.sum()} right: {right[test].float().mean():.2%}")
    print(f"trained on {right[~test].sum()} of {(~test).sum()} right: {right[~test].float().mean():.2%}")

    save_file(classifier.state_dict(), arguments.out / "classifier.safetensors")
    rows = {"images": values, "labels": labels, "held_out": test.to(torch.uint8)}
    save_file(rows, arguments.out / "training_images.safetensors")


if __name__ == "__main__":
    main()
