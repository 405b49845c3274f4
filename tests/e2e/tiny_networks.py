#!/usr/bin/env python3
"""Makes a tiny random UNet and a tiny random DiT of the diffusers library, and what they answer to three rows.

Needs torch and diffusers; test_plugins.py runs it. Usage: tiny_networks.py FOLDER

FOLDER/NAME is the network as diffusers saves it; FOLDER/NAME.reference.safetensors has x, timestep, the inputs and
the answer, float32.
"""

import pathlib
import sys

import diffusers
import torch
from safetensors.torch import save_file

ROWS, LATENT, TOKENS, WIDTH = 3, (4, 8, 8), 6, 8

NETWORKS = {
    "unet": lambda: diffusers.UNet2DConditionModel(
        sample_size=8, in_channels=4, out_channels=4, block_out_channels=(8, 16), layers_per_block=1,
        norm_num_groups=4, down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"), cross_attention_dim=WIDTH, attention_head_dim=4),
    "dit": lambda: diffusers.SD3Transformer2DModel(
        sample_size=8, patch_size=2, in_channels=4, out_channels=4, num_layers=1, attention_head_dim=8,
        num_attention_heads=2, joint_attention_dim=WIDTH, caption_projection_dim=16, pooled_projection_dim=WIDTH,
        pos_embed_max_size=8),
}


def make(folder, name):
    torch.manual_seed(sum(name.encode()))
    network = NETWORKS[name]().eval()
    for weight in network.parameters():
        weight.data = torch.randn_like(weight) * (1.0 / max(weight[0].numel(), 1)) ** 0.5 + (weight.ndim == 1)
    network.save_pretrained(folder / name)
    x, timestep = torch.randn(ROWS, *LATENT), torch.tensor([900.0, 500.0, 12.5])
    inputs = {"encoder_hidden_states": torch.randn(ROWS, TOKENS, WIDTH)}
    if name == "dit":
        inputs["pooled_projections"] = torch.randn(ROWS, WIDTH)
    with torch.no_grad():
        answer = network(x, timestep=timestep, **inputs, return_dict=False)[0]
    save_file({"x": x, "timestep": timestep, "answer": answer.contiguous(), **inputs},
              folder / f"{name}.reference.safetensors")


if __name__ == "__main__":
    target = pathlib.Path(sys.argv[1])
    target.mkdir(parents=True, exist_ok=True)
    for each in NETWORKS:
        make(target, each)
