"""Samples digits and judges them: are they what was asked for, do they differ, are they new?

    python evaluate.py [--seeds N] [--cfg C] [--png FILE] [--model FOLDER]

Each seed makes 100 samples, ten a class: Euler, 20 steps, simple schedule, standard normal start.
The classifier of tests/assets/digits_classifier judges them. Exit code 1 if any seed gets fewer than 95 right.

Packages: torch, numpy, scikit-learn, safetensors.
"""

import argparse
import struct
import sys
import time
import zlib
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor

import data
from network import Flux
from train import CONFIG

CLASSIFIER = Path(__file__).resolve().parents[3] / "tests/assets/digits_classifier"


def sample(network: Flux, conditions: dict[str, Tensor], labels: list[str], seed: int, steps: int, cfg: float) -> Tensor:
    """[N, 1, 8, 8]: one sample a label."""

    def rows(names: list[str]) -> dict[str, Tensor]:
        return {part: torch.cat([conditions[f"{name}.{part}"] for name in names]) for part in ("context", "y")}

    positive, negative = rows(labels), rows(["none"] * len(labels))
    x = torch.randn(len(labels), CONFIG.in_channels, 8, 8, generator=torch.Generator().manual_seed(seed))
    sigmas = [1 - i / steps for i in range(steps)] + [0.0]
    for sigma, following in zip(sigmas, sigmas[1:]):
        timestep = torch.full((len(labels),), sigma)
        velocity = network(x, timestep, **positive)
        if cfg != 1:
            away = network(x, timestep, **negative)
            velocity = away + cfg * (velocity - away)
        x = x + (following - sigma) * velocity
    return x


def nearest(a: Tensor, b: Tensor) -> Tensor:
    """Euclidean distance in pixel values from each of `a` to the closest of `b`."""
    return torch.cdist(a.flatten(1), b.flatten(1)).min(1).values


def spread(values: Tensor) -> str:
    low, middle, high = values.quantile(torch.tensor([0.05, 0.5, 0.95])).tolist()
    return f"least {values.min():.2f}, 5% {low:.2f}, median {middle:.2f}, 95% {high:.2f}"


def write_png(path: Path, pixels: Tensor, columns: int, zoom: int = 6) -> None:
    """A contact sheet of [N, 1, 8, 8], grey, with a line between images."""
    grey = ((pixels[:, 0].clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8)
    grey = grey.repeat_interleave(zoom, 1).repeat_interleave(zoom, 2)
    grey = torch.nn.functional.pad(grey, (0, 2, 0, 2), value=96)
    sheet = torch.cat([torch.cat(list(row), dim=1) for row in grey.split(columns)], dim=0)
    height, width = sheet.shape
    lines = b"".join(b"\0" + bytes(line.tolist()) for line in sheet)

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(lines)) + chunk(b"IEND", b"")
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + body)


def load_classifier() -> torch.nn.Module:
    import importlib.util

    spec = importlib.util.spec_from_file_location("digits_classifier", CLASSIFIER / "train.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    classifier = module.Classifier().eval()
    classifier.load_state_dict(load_file(CLASSIFIER / "classifier.safetensors"))
    return classifier


@torch.inference_mode()
def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--cfg", type=float, default=1.0)
    parser.add_argument("--png", type=Path, help="contact sheet of the first seed")
    parser.add_argument("--model", type=Path, default=Path(__file__).parent)
    arguments = parser.parse_args()
    torch.set_num_threads(1)

    network = Flux(CONFIG).eval()
    network.load_state_dict(load_file(arguments.model / "digits.safetensors"))
    conditions = load_file(arguments.model / "conditions.safetensors")
    classifier = load_classifier()
    values, real_labels = data.images()
    real, held = data.to_pixels(values), data.held_out()

    labels = [str(i // 10) for i in range(100)]
    asked = torch.tensor([int(label) for label in labels])
    correct, everything, within = [], [], []
    start = time.monotonic()
    for seed in range(arguments.seeds):
        x = sample(network, conditions, labels, seed, arguments.steps, arguments.cfg)
        if seed == 0 and arguments.png:
            write_png(arguments.png, x, columns=10)
        correct.append(int((classifier(x).argmax(1) == asked).sum()))
        everything.append(x)
        within += [torch.pdist(x[asked == digit].flatten(1)) for digit in range(10)]
    seconds = (time.monotonic() - start) / arguments.seeds
    x = torch.cat(everything)

    print(f"right of 100, a seed each: {correct}; mean {sum(correct) / len(correct):.2f}, {seconds:.1f} s a seed")
    same = [torch.pdist(real[held & (real_labels == digit)].flatten(1)) for digit in range(10)]
    print(f"pairs within a class     samples: {spread(torch.cat(within))}")
    print(f"                         held out: {spread(torch.cat(same))}")
    print(f"nearest training image   samples: {spread(nearest(x, real[~held]))}")
    print(f"                         held out: {spread(nearest(real[held], real[~held]))}")
    print(f"nearest of all 1797      samples: {spread(nearest(x, real))}")
    print(f"nearest sample of another seed    {spread(nearest(everything[0], x[100:]))}" if arguments.seeds > 1 else "")
    print(f"values: samples {x.min():.2f} to {x.max():.2f}, {(x.abs() > 1.1).float().mean():.2%} beyond 1.1")
    return 0 if min(correct) >= 95 else 1


if __name__ == "__main__":
    sys.exit(main())
