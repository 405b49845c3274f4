"""The FLUX.1 transformer in plain PyTorch, small enough to train on a CPU.

It follows the published architecture and names its parameters as released FLUX.1 files do, so a
file of its weights is a FLUX file to everything that reads FLUX files.

    python network.py FIXTURE.safetensors...

compares it with recorded forward passes of other FLUX implementations (the fixtures of this
project: tensors `weights.*`, `in.*`, `out.y`, and their configuration in the metadata).

Packages: torch, safetensors.
"""

import dataclasses
import json
import math
import sys

import torch
import torch.nn.functional as F
from torch import Tensor, nn


@dataclasses.dataclass(frozen=True)
class Config:
    """Sizes of a network. Names and meaning are those of the fixtures' `config`."""

    in_channels: int  # Channels of the latent; a token is patch_size x patch_size of them.
    out_channels: int
    vec_in_dim: int  # Width of the pooled condition `y`.
    context_in_dim: int  # Width of a token of `context`.
    hidden_size: int
    num_heads: int
    depth: int  # Double blocks.
    depth_single_blocks: int
    axes_dim: tuple[int, ...]  # Rotary dimensions an axis; they add up to the size of a head.
    mlp_ratio: float = 4.0
    theta: float = 10000
    patch_size: int = 2
    qkv_bias: bool = True
    guidance_embed: bool = False

    @property
    def head_dim(self) -> int:
        return self.hidden_size // self.num_heads


def timestep_embedding(t: Tensor, dim: int = 256, max_period: float = 10000) -> Tensor:
    """[B] in 0..1 -> [B, dim]: cosines, then sines, of 1000 t at geometrically falling frequencies."""
    half = dim // 2
    frequencies = torch.exp(-math.log(max_period) * torch.arange(half, dtype=torch.float32) / half)
    angles = 1000.0 * t.float()[:, None] * frequencies.to(t.device)
    return torch.cat([angles.cos(), angles.sin()], dim=-1)


def rotary(positions: Tensor, axes_dim: tuple[int, ...], theta: float) -> Tensor:
    """[L, axes] -> turns, complex [L, head_dim / 2]; each axis turns its own pairs."""
    angles = []
    for axis, dim in enumerate(axes_dim):
        exponents = torch.arange(0, dim, 2, dtype=torch.float64) / dim
        angles.append(positions[:, axis, None].double() * theta**-exponents)
    angles = torch.cat(angles, dim=-1)
    return torch.polar(torch.ones_like(angles), angles).to(torch.complex64)


def rotate(x: Tensor, turns: Tensor) -> Tensor:
    """Turns the pairs (x0, x1), (x2, x3), ... of [B, H, L, D] by `turns` [L, D / 2]."""
    pairs = torch.view_as_complex(x.unflatten(-1, (-1, 2)).contiguous())
    return torch.view_as_real(pairs * turns).flatten(-2)


class Embedder(nn.Module):
    def __init__(self, in_dim: int, hidden: int):
        super().__init__()
        self.in_layer = nn.Linear(in_dim, hidden)
        self.out_layer = nn.Linear(hidden, hidden)

    def forward(self, x: Tensor) -> Tensor:
        return self.out_layer(F.silu(self.in_layer(x)))


class Modulation(nn.Module):
    """The conditioning vector [B, D] -> `count` tensors [B, 1, D]: shift, scale, gate, shift, ..."""

    def __init__(self, hidden: int, count: int):
        super().__init__()
        self.count = count
        self.lin = nn.Linear(hidden, count * hidden)

    def forward(self, vec: Tensor) -> tuple[Tensor, ...]:
        return self.lin(F.silu(vec))[:, None, :].chunk(self.count, dim=-1)


class Scale(nn.Module):
    def __init__(self, dim: int):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(dim))

    def forward(self, x: Tensor) -> Tensor:
        return F.rms_norm(x, (x.shape[-1],), self.scale, eps=1e-6)


class QKNorm(nn.Module):
    def __init__(self, dim: int):
        super().__init__()
        self.query_norm = Scale(dim)
        self.key_norm = Scale(dim)

    def forward(self, q: Tensor, k: Tensor) -> tuple[Tensor, Tensor]:
        return self.query_norm(q), self.key_norm(k)


class SelfAttention(nn.Module):
    """The projections of one stream; the attention itself joins two streams."""

    def __init__(self, config: Config):
        super().__init__()
        self.heads = config.num_heads
        self.qkv = nn.Linear(config.hidden_size, 3 * config.hidden_size, bias=config.qkv_bias)
        self.norm = QKNorm(config.head_dim)
        self.proj = nn.Linear(config.hidden_size, config.hidden_size)

    def split(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        q, k, v = split_heads(self.qkv(x), self.heads)
        return *self.norm(q, k), v


def split_heads(qkv: Tensor, heads: int) -> tuple[Tensor, Tensor, Tensor]:
    """[B, L, 3 H D] -> three of [B, H, L, D]."""
    batch, length, _ = qkv.shape
    q, k, v = qkv.view(batch, length, 3, heads, -1).permute(2, 0, 3, 1, 4)
    return q, k, v


def attention(q: Tensor, k: Tensor, v: Tensor, turns: Tensor) -> Tensor:
    """[B, H, L, D] each -> [B, L, H D]."""
    x = F.scaled_dot_product_attention(rotate(q, turns), rotate(k, turns), v)
    return x.transpose(1, 2).flatten(2)


def layer_norm(x: Tensor) -> Tensor:
    return F.layer_norm(x, (x.shape[-1],), eps=1e-6)


def mlp(config: Config) -> nn.Sequential:
    inner = int(config.hidden_size * config.mlp_ratio)
    return nn.Sequential(
        nn.Linear(config.hidden_size, inner), nn.GELU(approximate="tanh"), nn.Linear(inner, config.hidden_size)
    )


class DoubleBlock(nn.Module):
    """Text and image keep weights of their own and attend to each other."""

    def __init__(self, config: Config):
        super().__init__()
        self.img_mod = Modulation(config.hidden_size, 6)
        self.img_attn = SelfAttention(config)
        self.img_mlp = mlp(config)
        self.txt_mod = Modulation(config.hidden_size, 6)
        self.txt_attn = SelfAttention(config)
        self.txt_mlp = mlp(config)

    def forward(self, img: Tensor, txt: Tensor, vec: Tensor, turns: Tensor) -> tuple[Tensor, Tensor]:
        img_shift1, img_scale1, img_gate1, img_shift2, img_scale2, img_gate2 = self.img_mod(vec)
        txt_shift1, txt_scale1, txt_gate1, txt_shift2, txt_scale2, txt_gate2 = self.txt_mod(vec)

        img_qkv = self.img_attn.split((1 + img_scale1) * layer_norm(img) + img_shift1)
        txt_qkv = self.txt_attn.split((1 + txt_scale1) * layer_norm(txt) + txt_shift1)
        q, k, v = (torch.cat(pair, dim=2) for pair in zip(txt_qkv, img_qkv))
        both = attention(q, k, v, turns)
        txt_out, img_out = both.split([txt.shape[1], img.shape[1]], dim=1)

        img = img + img_gate1 * self.img_attn.proj(img_out)
        img = img + img_gate2 * self.img_mlp((1 + img_scale2) * layer_norm(img) + img_shift2)
        txt = txt + txt_gate1 * self.txt_attn.proj(txt_out)
        txt = txt + txt_gate2 * self.txt_mlp((1 + txt_scale2) * layer_norm(txt) + txt_shift2)
        return img, txt


class SingleBlock(nn.Module):
    """One stream; attention and MLP side by side, joined by one projection."""

    def __init__(self, config: Config):
        super().__init__()
        hidden, inner = config.hidden_size, int(config.hidden_size * config.mlp_ratio)
        self.heads = config.num_heads
        self.sizes = [3 * hidden, inner]
        self.linear1 = nn.Linear(hidden, 3 * hidden + inner)
        self.linear2 = nn.Linear(hidden + inner, hidden)
        self.norm = QKNorm(config.head_dim)
        self.modulation = Modulation(hidden, 3)

    def forward(self, x: Tensor, vec: Tensor, turns: Tensor) -> Tensor:
        shift, scale, gate = self.modulation(vec)
        qkv, inner = self.linear1((1 + scale) * layer_norm(x) + shift).split(self.sizes, dim=-1)
        q, k, v = split_heads(qkv, self.heads)
        q, k = self.norm(q, k)
        attended = attention(q, k, v, turns)
        return x + gate * self.linear2(torch.cat([attended, F.gelu(inner, approximate="tanh")], dim=-1))


class FinalLayer(nn.Module):
    def __init__(self, config: Config):
        super().__init__()
        self.linear = nn.Linear(config.hidden_size, config.patch_size**2 * config.out_channels)
        self.adaLN_modulation = nn.Sequential(nn.SiLU(), nn.Linear(config.hidden_size, 2 * config.hidden_size))

    def forward(self, x: Tensor, vec: Tensor) -> Tensor:
        shift, scale = self.adaLN_modulation(vec)[:, None, :].chunk(2, dim=-1)
        return self.linear((1 + scale) * layer_norm(x) + shift)


class Flux(nn.Module):
    def __init__(self, config: Config):
        super().__init__()
        assert sum(config.axes_dim) == config.head_dim
        self.config = config
        hidden = config.hidden_size
        self.img_in = nn.Linear(config.patch_size**2 * config.in_channels, hidden)
        self.time_in = Embedder(256, hidden)
        self.vector_in = Embedder(config.vec_in_dim, hidden)
        if config.guidance_embed:
            self.guidance_in = Embedder(256, hidden)
        self.txt_in = nn.Linear(config.context_in_dim, hidden)
        self.double_blocks = nn.ModuleList(DoubleBlock(config) for _ in range(config.depth))
        self.single_blocks = nn.ModuleList(SingleBlock(config) for _ in range(config.depth_single_blocks))
        self.final_layer = FinalLayer(config)

    def forward(self, x: Tensor, timestep: Tensor, context: Tensor, y: Tensor, guidance: Tensor | None = None) -> Tensor:
        """The velocity at `x`.

        x         [B, C, h, w]; padded to whole patches by wrapping around, and cropped afterwards.
        timestep  [B]: sigma, 0 to 1.
        context   [B, T, context_in_dim]
        y         [B, vec_in_dim]
        guidance  [B], if the configuration has guidance_embed.
        returns   [B, out_channels, h, w]
        """
        config, size = self.config, self.config.patch_size
        height, width = x.shape[-2:]
        if height % size or width % size:
            x = F.pad(x, (0, -width % size, 0, -height % size), mode="circular")
        batch, channels = x.shape[:2]
        rows, columns = x.shape[-2] // size, x.shape[-1] // size

        # A token is a patch in the order (channel, row, column).
        img = x.view(batch, channels, rows, size, columns, size).permute(0, 2, 4, 1, 3, 5)
        img = self.img_in(img.reshape(batch, rows * columns, channels * size * size))
        txt = self.txt_in(context)

        vec = self.time_in(timestep_embedding(timestep))
        if config.guidance_embed:
            vec = vec + self.guidance_in(timestep_embedding(guidance))
        vec = vec + self.vector_in(y)

        # Text sits at (0, 0, 0), an image token at (0, row, column).
        positions = torch.zeros(txt.shape[1] + rows * columns, len(config.axes_dim))
        positions[txt.shape[1] :, 1] = torch.arange(rows).repeat_interleave(columns)
        positions[txt.shape[1] :, 2] = torch.arange(columns).repeat(rows)
        turns = rotary(positions, config.axes_dim, config.theta)

        for block in self.double_blocks:
            img, txt = block(img, txt, vec, turns)
        both = torch.cat([txt, img], dim=1)
        for block in self.single_blocks:
            both = block(both, vec, turns)
        img = self.final_layer(both[:, txt.shape[1] :], vec)

        img = img.view(batch, rows, columns, config.out_channels, size, size).permute(0, 3, 1, 4, 2, 5)
        img = img.reshape(batch, config.out_channels, rows * size, columns * size)
        return img[..., :height, :width]


def check(path: str) -> bool:
    """Whether this network reproduces a recorded forward pass, within the record's tolerance."""
    from safetensors import safe_open

    with safe_open(path, "pt") as file:
        meta = json.loads(file.metadata()["json"])
        tensors = {name: file.get_tensor(name).float() for name in file.keys()}
    settings = meta["config"] | {"axes_dim": tuple(meta["config"]["axes_dim"])}
    prefix = "weights." + meta["key_prefix"]
    network = Flux(Config(**settings))
    network.load_state_dict({k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)})
    with torch.inference_mode():
        got = network(**{k.removeprefix("in."): v for k, v in tensors.items() if k.startswith("in.")})
    want = tensors["out.y"]
    error = (got - want).abs().max().item()
    allowed = meta["atol"] + meta["rtol"] * want.abs().max().item()
    print(f"{meta['name']}: error {error:.2e}, allowed {allowed:.2e}")
    return error <= allowed


if __name__ == "__main__":
    sys.exit(0 if all([check(path) for path in sys.argv[1:]]) else 1)
