"""What a family's network is told of a prompt, made by the family's text encoders.

Each function returns the network's inputs by the names that requests have for them, one row each.
"""

import torch

from parallelanything.failure import Failure

# Parts of a pipeline that text does not need.
NETWORKS = {"flux": ("transformer", "vae"), "sdxl": ("unet", "vae"), "zimage": ("transformer", "vae")}
TIME_FEATURES = 256  # Of each of SDXL's six numbers.
TOKENIZERS = {"flux": ("tokenizer", "tokenizer_2"), "sdxl": ("tokenizer", "tokenizer_2"), "zimage": ("tokenizer",)}


def text_pipeline(folder, device, dtype):
    """diffusers' pipeline with its text encoders and nothing else."""
    import diffusers

    diffusers.utils.logging.disable_progress_bar()
    for part in TOKENIZERS[folder.family]:
        folder.part(part)
        folder.part(part.replace("tokenizer", "text_encoder"))
    without = dict.fromkeys(NETWORKS[folder.family])
    pipeline = getattr(diffusers, folder.pipeline)
    try:
        return pipeline.from_pretrained(folder.path, torch_dtype=dtype, local_files_only=True, **without).to(device)
    except (OSError, ValueError) as error:
        raise Failure(f"{folder.path}: {error}") from None


def time_features(values):
    """[n] numbers -> [1, n * 256]: cosines, then sines, of each number times 10000^(-i/128)."""
    half = TIME_FEATURES // 2
    frequencies = 10000.0 ** (-torch.arange(half, dtype=torch.float64) / half)
    angles = torch.tensor(values, dtype=torch.float64)[:, None] * frequencies
    return torch.cat([angles.cos(), angles.sin()], 1).flatten()[None].float()


def flux(pipeline, prompt, length):
    """context [1, length, width of T5], y [1, width of CLIP]."""
    context, y, _ = pipeline.encode_prompt(prompt=prompt, prompt_2=None, max_sequence_length=length)
    return {"context": context, "y": y}


def sdxl(pipeline, prompt, size):
    """context [1, 77, both CLIPs' widths], y [1, width of the second's projection + 6 * 256].

    size: [width, height] of the picture. y ends in the features of: original height and width, where the crop begins
    (0, 0), target height and width.
    """
    context, _, pooled, _ = pipeline.encode_prompt(prompt=prompt, do_classifier_free_guidance=False)
    width, height = size
    times = time_features([height, width, 0, 0, height, width]).to(pooled)
    return {"context": context, "y": torch.cat([pooled, times], 1)}


def zimage(pipeline, prompt, length):
    """context [1, T, width]: as many tokens as the prompt has, `length` at most."""
    contexts, _ = pipeline.encode_prompt(prompt=prompt, do_classifier_free_guidance=False, max_sequence_length=length)
    return {"context": contexts[0][None]}


@torch.inference_mode()
def encode(pipeline, family, prompt, size, length):
    inputs = {
        "flux": lambda: flux(pipeline, prompt, length),
        "sdxl": lambda: sdxl(pipeline, prompt, size),
        "zimage": lambda: zimage(pipeline, prompt, length),
    }[family]()
    return {name: value.detach().cpu().contiguous() for name, value in inputs.items()}
