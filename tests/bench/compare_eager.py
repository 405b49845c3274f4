#!/usr/bin/env python3
"""Compares a forward pass here with the same network in PyTorch eager mode, as diffusers has it.

Same weights, inputs and threads on a CPU, in turns, in one run. Needs torch, diffusers and safetensors.
Usage: compare_eager.py [--rounds 9] [--threads 1] [flux] [zimage] [sdxl]
"""

import argparse
import json
import pathlib
import statistics
import subprocess
import tempfile
import time

import diffusers
import torch
from safetensors.torch import load_file, save_file

BENCH = pathlib.Path(__file__).parents[2] / "build" / "release" / "bench" / "forward_bench"


def flux():
    make = lambda: diffusers.FluxTransformer2DModel(  # noqa: E731
        patch_size=1, in_channels=64, num_layers=2, num_single_layers=4, attention_head_dim=64, num_attention_heads=12,
        joint_attention_dim=1024, pooled_projection_dim=768, guidance_embeds=True, axes_dims_rope=(8, 28, 28),
    )
    high = wide = 16
    text = 128
    x = torch.randn(1, 16, 2 * high, 2 * wide)
    inputs = {
        "x": x, "timestep": torch.tensor([0.6]), "context": torch.randn(1, text, 1024), "y": torch.randn(1, 768),
        "guidance": torch.tensor([3.5]),
    }
    tokens = x.reshape(1, 16, high, 2, wide, 2).permute(0, 2, 4, 1, 3, 5).reshape(1, high * wide, 64).contiguous()
    rows, columns = torch.meshgrid(torch.arange(high), torch.arange(wide), indexing="ij")
    ids = torch.stack([torch.zeros(high * wide), rows.flatten(), columns.flatten()], 1)

    def run(model):
        y = model(
            hidden_states=tokens, encoder_hidden_states=inputs["context"], pooled_projections=inputs["y"],
            timestep=inputs["timestep"], guidance=inputs["guidance"], img_ids=ids, txt_ids=torch.zeros(text, 3),
        ).sample
        return y.reshape(1, high, wide, 16, 2, 2).permute(0, 3, 1, 4, 2, 5).reshape(x.shape)

    return make, "axes_dim: [8, 28, 28]", inputs, run


def zimage():
    make = lambda: diffusers.ZImageTransformer2DModel(  # noqa: E731
        in_channels=16, dim=768, n_layers=6, n_refiner_layers=1, n_heads=12, n_kv_heads=12, cap_feat_dim=1024,
        axes_dims=[16, 24, 24], axes_lens=[1024, 512, 512],
    )
    x, context, sigma = torch.randn(1, 16, 32, 32), torch.randn(1, 128, 1024), torch.tensor([0.6])

    def run(model):
        y = model([row.unsqueeze(1) for row in x], 1 - sigma, list(context))
        return -torch.stack([row.squeeze(1) for row in (y.sample if hasattr(y, "sample") else y[0])])

    return make, "axes_dims: [16, 24, 24], qk_norm_eps: 0.00001", {"x": x, "timestep": sigma, "context": context}, run


def sdxl():
    make = lambda: diffusers.UNet2DConditionModel(  # noqa: E731
        in_channels=4, out_channels=4, block_out_channels=(128, 256, 512), layers_per_block=2,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        transformer_layers_per_block=(1, 2, 4), attention_head_dim=(2, 4, 8), cross_attention_dim=1024,
        use_linear_projection=True, addition_embed_type="text_time", addition_time_embed_dim=256,
        projection_class_embeddings_input_dim=1280 + 6 * 256,
    )
    x, context, pooled = torch.randn(1, 4, 32, 32), torch.randn(1, 77, 1024), torch.randn(1, 1280)
    times = torch.randint(0, 1024, (1, 6)).float()
    embed = diffusers.models.embeddings.Timesteps(256, flip_sin_to_cos=True, downscale_freq_shift=0)
    label = torch.cat([pooled, embed(times.flatten()).reshape(1, -1)], 1)
    timestep = torch.tensor([601.0])

    def run(model):
        return model(x, timestep, context, added_cond_kwargs={"text_embeds": pooled, "time_ids": times}).sample

    return make, "num_head_channels: 64", {"x": x, "timestep": timestep, "context": context, "y": label}, run


@torch.no_grad()
def compare(name, family, rounds, threads):
    torch.manual_seed(1)
    make, config, inputs, run = family()
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        (folder / "model").mkdir()
        weights = folder / "model" / "w.safetensors"
        save_file({key: value.contiguous() for key, value in make().state_dict().items()}, weights)
        (folder / "model" / "model.yaml").write_text(f"config: {{{config}}}\n")
        save_file({key: value.contiguous() for key, value in inputs.items()}, folder / "in")

        model = make().eval()
        start = time.perf_counter()
        model.load_state_dict(load_file(weights))
        their_load = time.perf_counter() - start
        command = [BENCH, folder / "model", folder / "in", str(threads), folder / "out"]
        process = subprocess.Popen(list(map(str, command)), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        our_load, our_start = map(float, process.stdout.readline().split())

        def ours():
            process.stdin.write("\n")
            process.stdin.flush()
            return float(process.stdout.readline())

        def theirs():
            begin = time.perf_counter()
            run(model)
            return time.perf_counter() - begin

        ours(), theirs()
        times = [(ours(), theirs()) for _ in range(rounds)]
        process.stdin.close()
        process.wait()
        difference = (load_file(folder / "out")["y"] - run(model)).abs().max().item()
    mine, other = (statistics.median(column) for column in zip(*times))
    ratio = statistics.median(a / b for a, b in times)
    print(json.dumps({
        "family": name, "parameters": sum(p.numel() for p in model.parameters()), "ours_ms": round(1000 * mine, 1),
        "eager_ms": round(1000 * other, 1), "ratio": round(ratio, 3), "largest_difference": float(f"{difference:.1e}"),
        "load_ms": round(1000 * our_load, 1), "load_with_hash_ms": round(1000 * our_start, 1),
        "load_file_and_load_state_dict_ms": round(1000 * their_load, 1),
    }), flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("families", nargs="*", default=[])
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    families = {"flux": flux, "zimage": zimage, "sdxl": sdxl}
    for name in options.families or families:
        compare(name, families[name], options.rounds, options.threads)


if __name__ == "__main__":
    main()
