"""Trains the demo model: a FLUX.1 network of about a million parameters that draws handwritten digits.

Writes digits.safetensors (weights) and conditions.safetensors (`<label>.context`, `<label>.y`)
into this folder. On one CPU core it takes about 20 minutes. Equal seeds, library versions and
processors give equal weights.

    python train.py [--steps N] [--out FOLDER]

Packages: torch, numpy, scikit-learn, safetensors. (pip install torch numpy scikit-learn safetensors)

Rectified flow (Liu et al. 2022, Esser et al. 2024): x = (1 - sigma) data + sigma noise, and the
network predicts the velocity noise - data from x, sigma and a label.
"""

import argparse
import copy
import dataclasses
import math
import time
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

import data
from network import Config, Flux

CONFIG = Config(
    in_channels=1,
    out_channels=1,
    vec_in_dim=32,
    context_in_dim=32,
    hidden_size=96,
    num_heads=4,
    depth=1,
    depth_single_blocks=4,
    axes_dim=(4, 10, 10),
)
LABELS = [*"0123456789", "none"]
NONE = LABELS.index("none")
CONTEXT_TOKENS = 2
LABEL_DROPOUT = 0.1  # How often the label is "none", so that cfg has something to push away from.
SEED = 1234


def conditions() -> tuple[Tensor, Tensor]:
    """Fixed random embeddings: context [labels, CONTEXT_TOKENS, context_in_dim], y [labels, vec_in_dim]."""
    generator = torch.Generator().manual_seed(SEED)
    context = torch.randn(len(LABELS), CONTEXT_TOKENS, CONFIG.context_in_dim, generator=generator)
    return context, torch.randn(len(LABELS), CONFIG.vec_in_dim, generator=generator)


def initialise(network: Flux) -> None:
    """Blocks begin as the identity and the output as zero (adaLN-Zero, Peebles & Xie 2022)."""
    for name, parameter in network.named_parameters():
        if any(part in name for part in ("_mod.lin", "modulation", "final_layer.linear")) or name.endswith("bias"):
            torch.nn.init.zeros_(parameter)
        elif parameter.dim() == 2:
            torch.nn.init.xavier_uniform_(parameter)


def draw_sigmas(count: int, generator: torch.Generator) -> Tensor:
    """Logit-normal, one from each of `count` equally likely intervals."""
    quantiles = (torch.arange(count) + torch.rand(count, generator=generator)) / count
    return torch.sigmoid(1.2 * torch.special.ndtri(quantiles.clamp(1e-4, 1 - 1e-4)))


def loss_of(network: Flux, pixels: Tensor, labels: Tensor, sigmas: Tensor, noise: Tensor, embeddings) -> Tensor:
    context, y = embeddings
    s = sigmas[:, None, None, None]
    velocity = network((1 - s) * pixels + s * noise, sigmas, context[labels], y[labels])
    return (velocity - (noise - pixels)).square().mean()


def save(network: Flux, folder: Path) -> None:
    weights = {name: tensor.detach().clone().contiguous() for name, tensor in network.state_dict().items()}
    save_file(weights, folder / "digits.safetensors")
    context, y = conditions()
    rows = {}
    for i, label in enumerate(LABELS):
        rows[f"{label}.context"] = context[i : i + 1].clone()
        rows[f"{label}.y"] = y[i : i + 1].clone()
    save_file(rows, folder / "conditions.safetensors")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=10000)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--rate", type=float, default=1.5e-3, help="highest learning rate")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent)
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)

    torch.set_num_threads(1)
    torch.manual_seed(SEED)
    generator = torch.Generator().manual_seed(SEED + 1)

    values, labels = data.images()
    pixels, labels, test = data.to_pixels(values), labels.long(), data.held_out()
    test_pixels, test_labels = pixels[test], labels[test]
    pixels, labels = pixels[~test], labels[~test]
    embeddings = conditions()

    network = Flux(CONFIG)
    initialise(network)
    average = copy.deepcopy(network).requires_grad_(False)
    print(f"{sum(p.numel() for p in network.parameters()):,} parameters, {dataclasses.asdict(CONFIG)}")

    matrices = [p for p in network.parameters() if p.dim() == 2]
    rest = [p for p in network.parameters() if p.dim() != 2]
    groups = [{"params": matrices, "weight_decay": 0.02}, {"params": rest, "weight_decay": 0.0}]
    optimiser = torch.optim.AdamW(groups, lr=arguments.rate, betas=(0.9, 0.98), fused=True)
    warmup = min(200, arguments.steps // 10)

    test_noise = torch.randn(test_pixels.shape, generator=generator)
    test_sigmas = draw_sigmas(len(test_pixels), generator)[torch.randperm(len(test_pixels), generator=generator)]

    start, running = time.monotonic(), 0.0
    for step in range(1, arguments.steps + 1):
        progress = max(0.0, (step - warmup) / (arguments.steps - warmup))
        rate = arguments.rate * min(1.0, step / warmup) * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * progress)))
        for group in optimiser.param_groups:
            group["lr"] = rate

        chosen = torch.randint(len(pixels), (arguments.batch,), generator=generator)
        batch = data.augment(pixels[chosen], generator, shift=0.3, rotation=7, scale=0.08, shear=0.08)
        dropped = torch.rand(arguments.batch, generator=generator) < LABEL_DROPOUT
        batch_labels = torch.where(dropped, NONE, labels[chosen])
        noise = torch.randn(batch.shape, generator=generator)
        loss = loss_of(network, batch, batch_labels, draw_sigmas(arguments.batch, generator), noise, embeddings)

        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimiser.step()
        decay = min(0.999, (1 + step) / (10 + step))
        with torch.no_grad():
            torch._foreach_lerp_(list(average.parameters()), list(network.parameters()), 1 - decay)

        running += loss.item()
        if step % 250 == 0 or step == arguments.steps:
            with torch.inference_mode():
                held = loss_of(average, test_pixels, test_labels, test_sigmas, test_noise, embeddings).item()
            mean, running = running / (step % 250 or 250), 0.0
            print(f"step {step}  loss {mean:.4f}  held out {held:.4f}  {time.monotonic() - start:.0f} s", flush=True)
            save(average, arguments.out)


if __name__ == "__main__":
    main()
