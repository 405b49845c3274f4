"""The digits: pixels, labels, the split into training and held-out images, and augmentation.

Packages: torch, numpy, scikit-learn.
"""

import math

import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import Tensor

HELD_OUT = 297  # Of 1797; as many of each class as its share.
SPLIT_SEED = 0


def images() -> tuple[Tensor, Tensor]:
    """All images in scikit-learn's order: U8 [1797, 8, 8] with values 0 to 16, and labels U8 [1797]."""
    digits = load_digits()
    return torch.from_numpy(digits.images).to(torch.uint8), torch.from_numpy(digits.target).to(torch.uint8)


def held_out() -> Tensor:
    """Bool [1797]: the images that neither the network nor the classifier is trained on."""
    labels = load_digits().target
    _, test = train_test_split(range(len(labels)), test_size=HELD_OUT, stratify=labels, random_state=SPLIT_SEED)
    mask = torch.zeros(len(labels), dtype=torch.bool)
    mask[test] = True
    return mask


def to_pixels(values: Tensor) -> Tensor:
    """U8 [N, 8, 8], 0 to 16 -> F32 [N, 1, 8, 8], -1 (paper) to 1 (ink)."""
    return values.float()[:, None] / 8 - 1


def augment(
    pixels: Tensor, generator: torch.Generator, *, shift: float, rotation: float, scale: float, shear: float = 0.0
) -> Tensor:
    """Moves each image a little; what comes in from outside is paper.

    shift     pixels, up and down at most; twice that left and right, where the images have margins
    rotation  degrees at most
    scale     relative change of each side at most
    shear     horizontal shift a row at most, in pixels
    """

    def draw(limit: float) -> Tensor:
        return (2 * torch.rand(len(pixels), generator=generator) - 1) * limit

    angle = draw(math.radians(rotation))
    wide, high = torch.exp(draw(scale)), torch.exp(draw(scale))
    slant = draw(shear)
    pixel = 2 / pixels.shape[-1]  # affine_grid's coordinates span -1 to 1.
    row_x = torch.stack([angle.cos() * wide, -angle.sin() * high + slant, draw(2 * shift) * pixel], dim=-1)
    row_y = torch.stack([angle.sin() * wide, angle.cos() * high, draw(shift) * pixel], dim=-1)
    grid = F.affine_grid(torch.stack([row_x, row_y], dim=1), list(pixels.shape), align_corners=False)
    moved = F.grid_sample(pixels + 1, grid, mode="bicubic", padding_mode="zeros", align_corners=False)
    return moved.clamp(0, 2) - 1
