"""pa-decode: a result file becomes pictures, by the model's VAE."""

import argparse
import json
import pathlib
import sys

from parallelanything.failure import Failure, run


def read_result(path):
    """Latents [N, C, H, W] and the request they answer."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, "pt") as file:
            metadata = file.metadata() or {}
            if "samples" not in file.keys():
                raise Failure(f"{path}: has no tensor 'samples'; expected a result of pa sample")
            return file.get_tensor("samples").float(), metadata.get("request", "{}")
    except (SafetensorError, OSError) as error:
        raise Failure(f"{path}: {error}") from None


def load_vae(folder, device, dtype):
    """`folder`: of the VAE, or the model's in diffusers' layout."""
    import diffusers

    folder = pathlib.Path(folder)
    folder = folder / "vae" if (folder / "vae").is_dir() else folder
    if not (folder / "config.json").exists():
        raise Failure(f"{folder / 'config.json'}: not there; expected a VAE's folder or a model's, in diffusers' layout")
    try:
        return diffusers.AutoencoderKL.from_pretrained(folder, torch_dtype=dtype, local_files_only=True).to(device).eval()
    except (OSError, ValueError) as error:
        raise Failure(f"{folder}: {error}") from None


def to_pixels(vae, latents):
    """[n, C, H, W] latents as networks have them -> [n, 8 H, 8 W, 3] bytes."""
    import torch

    with torch.inference_mode():
        unscaled = latents / vae.config.scaling_factor + (vae.config.shift_factor or 0.0)
        pixels = vae.decode(unscaled.to(vae.device, vae.dtype)).sample.float()
    # A bound for what is no number, too: a black pixel instead of a crash.
    return ((pixels / 2 + 0.5).clamp(0, 1).nan_to_num(0) * 255).round().byte().permute(0, 2, 3, 1).cpu().numpy()


def decode(arguments):
    latents, request = read_result(arguments.result)

    import torch
    from PIL import Image, PngImagePlugin

    device = arguments.device or ("cuda" if torch.cuda.is_available() else "cpu")
    # SDXL's first VAE overflows in half precision, which bfloat16 does not; float32 costs little beside the sampling.
    vae = load_vae(arguments.vae, device, torch.float32)
    if latents.shape[1] != vae.config.latent_channels:
        raise Failure(f"{arguments.result}: latents have {latents.shape[1]} channels; the VAE in {arguments.vae} takes "
                      f"{vae.config.latent_channels}")
    out = pathlib.Path(arguments.out)
    try:
        out.mkdir(parents=True, exist_ok=True)
        for index, latent in enumerate(latents):
            text = PngImagePlugin.PngInfo()
            text.add_text("request", json.dumps(json.loads(request)))
            text.add_text("sample", str(index))
            picture = Image.fromarray(to_pixels(vae, latent[None])[0])
            picture.save(out / f"{index:04d}.png", pnginfo=text)
    except OSError as error:
        raise Failure(f"{out}: {error}") from None
    print(f"{out}: {len(latents)} pictures of {picture.width}x{picture.height}")


def parse(words):
    parser = argparse.ArgumentParser(prog="pa-decode", description="Makes PNGs from a result file, with the VAE of a "
                                     "local model folder. Each tells its request and its place in the batch.")
    parser.add_argument("result", help="what pa sample --out wrote")
    parser.add_argument("--vae", required=True, metavar="FOLDER", help="the model's folder in diffusers' layout, or its VAE's")
    parser.add_argument("--out", required=True, metavar="FOLDER", help="where 0000.png, 0001.png, ... go")
    parser.add_argument("--device", help="where the VAE runs (default: cuda if there is one)")
    return parser.parse_args(words)


def main(words=None):
    arguments = parse(words)
    return run(lambda: decode(arguments))


if __name__ == "__main__":
    sys.exit(main())
