"""pa-colours: how a model's latents look, for previews and contact sheets, fitted to its VAE."""

import argparse
import pathlib
import sys

from parallelanything.decode import load_vae
from parallelanything.failure import Failure, run

SIDE = 256  # Pixels of a picture that is looked at.
MADE_UP = 32  # Pictures, if none are given.


def made_up(count, seed=0):
    """[count, 3, SIDE, SIDE] pictures from -1 to 1: soft spots of every colour, large and small."""
    import torch

    generator = torch.Generator().manual_seed(seed)
    pictures = torch.zeros(count, 3, SIDE, SIDE)
    for cells in (1, 3, 8, 24):
        coarse = torch.rand(count, 3, cells, cells, generator=generator) * 2 - 1
        pictures += torch.nn.functional.interpolate(coarse, size=(SIDE, SIDE), mode="bicubic", align_corners=False)
    return (pictures / pictures.abs().amax(dim=(1, 2, 3), keepdim=True)).clamp(-1, 1)


def read_pictures(folder):
    """[n, 3, SIDE, SIDE] from -1 to 1, of every picture in a folder, its middle."""
    import numpy as np
    import torch
    from PIL import Image, ImageOps, UnidentifiedImageError

    pictures = []
    try:
        for path in sorted(pathlib.Path(folder).iterdir()):
            try:
                with Image.open(path) as image:
                    pictures.append(np.asarray(ImageOps.fit(image.convert("RGB"), (SIDE, SIDE))))
            except UnidentifiedImageError:
                continue  # Other files may lie beside them.
    except OSError as error:
        raise Failure(f"{folder}: {error}") from None
    if not pictures:
        raise Failure(f"{folder}: there is no picture in it")
    return torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2).float() / 127.5 - 1


def to_latents(vae, pictures):
    """[n, 3, H, W] -> [n, C, H / 8, W / 8], as networks have them."""
    import torch

    with torch.inference_mode():
        latents = torch.cat([vae.encode(picture[None].to(vae.device, vae.dtype)).latent_dist.mean for picture in pictures])
    return ((latents - (vae.config.shift_factor or 0.0)) * vae.config.scaling_factor).float().cpu()


def fit(latents, pictures):
    """The bias [3], the factors [C, 3], and which part of the pictures' variance they explain.

    Least squares of the pictures, 0 to 1, averaged over what a latent's pixel covers.
    """
    import torch

    small = torch.nn.functional.adaptive_avg_pool2d(pictures, latents.shape[-2:]) / 2 + 0.5
    want = small.permute(0, 2, 3, 1).reshape(-1, 3).double()
    have = latents.permute(0, 2, 3, 1).reshape(len(want), -1).double()
    have = torch.cat([torch.ones(len(have), 1, dtype=torch.double), have], 1)
    solution = torch.linalg.lstsq(have, want).solution
    explained = 1 - ((have @ solution - want).var() / want.var()).item()
    return solution[0], solution[1:], explained


def colours(arguments):
    import torch

    vae = load_vae(arguments.vae, arguments.device or ("cuda" if torch.cuda.is_available() else "cpu"), torch.float32)
    pictures = read_pictures(arguments.pictures) if arguments.pictures else made_up(MADE_UP)
    bias, factors, explained = fit(to_latents(vae, pictures), pictures)
    row = lambda values: "[" + ", ".join(f"{value:.4f}" for value in values) + "]"  # noqa: E731
    print(f"# In the model's model.yaml; fitted to {len(pictures)} pictures, explains {explained:.0%} of what they vary")
    print("preview:")
    print(f"  bias: {row(bias)}")
    print("  factors:")
    for channel in factors:
        print(f"    - {row(channel)}")


def parse(words):
    parser = argparse.ArgumentParser(prog="pa-colours", description="Prints what makes colours of a model's latents, "
                                     "for previews and pa sample --png: the part `preview` of its model.yaml.")
    parser.add_argument("--vae", required=True, metavar="FOLDER", help="the model's folder in diffusers' layout, or its VAE's")
    parser.add_argument("--pictures", metavar="FOLDER", help="photographs to fit to (default: spots of every colour)")
    parser.add_argument("--device", help="where the VAE runs (default: cuda if there is one)")
    return parser.parse_args(words)


def main(words=None):
    arguments = parse(words)
    return run(lambda: colours(arguments))


if __name__ == "__main__":
    sys.exit(main())
