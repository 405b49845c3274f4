#!/usr/bin/env python3
"""Makes tiny random pipelines of every family, in diffusers' layout, and what diffusers itself makes of a prompt with them.

Needs torch, diffusers and transformers; test_prompt_to_picture.py runs it. Usage: tiny_pipelines.py FOLDER

FOLDER/FAMILY is a pipeline, FOLDER/FAMILY/model.yaml what a worker needs to know beyond the weights, and
FOLDER/FAMILY.reference.safetensors has noise, sigmas and diffusers' latents [N, C, H, W] and pixels [N, H, W, 3] in 0..1.
"""

import json
import pathlib
import string
import sys

import diffusers
import torch
import transformers
from safetensors.torch import save_file

PROMPT, NEGATIVE = "a red fox in the snow", "blur"
SAMPLES, SIZE, STEPS = 2, (64, 48), 4  # Width and height.
WIDTH = 32  # Of text encoders.


def clip_tokenizer():
    letters = [*string.ascii_lowercase, *(letter + "</w>" for letter in string.ascii_lowercase)]
    vocabulary = ["<|startoftext|>", "<|endoftext|>", *letters]
    return transformers.CLIPTokenizer(vocab={token: i for i, token in enumerate(vocabulary)}, merges=[],
                                      model_max_length=77), len(vocabulary)


def clip(vocabulary, projection=None):
    config = transformers.CLIPTextConfig(
        vocab_size=vocabulary, hidden_size=WIDTH, intermediate_size=37, num_attention_heads=4, num_hidden_layers=3,
        projection_dim=projection or WIDTH, bos_token_id=0, eos_token_id=1, pad_token_id=1, hidden_act="gelu")
    return (transformers.CLIPTextModelWithProjection if projection else transformers.CLIPTextModel)(config)


def t5():
    pieces = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", -10.0), ("▁", -2.0)]
    pieces += [(letter, -3.0) for letter in string.ascii_lowercase] + [("▁" + letter, -3.5) for letter in string.ascii_lowercase]
    tokenizer = transformers.T5Tokenizer(vocab=pieces, extra_ids=0, model_max_length=512)
    config = transformers.T5Config(vocab_size=len(pieces), d_model=WIDTH, d_kv=8, d_ff=37, num_layers=2, num_heads=4)
    return tokenizer, transformers.T5EncoderModel(config)


def qwen():
    # Bytes as GPT-2 writes them: those of these letters are themselves, a space is Ġ, a line's end Ċ.
    vocabulary = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<think>", "</think>", "Ġ", "Ċ", *string.ascii_letters]
    tokenizer = transformers.Qwen2Tokenizer(vocab={token: i for i, token in enumerate(vocabulary)}, merges=[],
                                            pad_token="<|endoftext|>")
    tokenizer.chat_template = (
        "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
        "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}")
    config = transformers.Qwen3Config(vocab_size=len(tokenizer) + 8, hidden_size=WIDTH, intermediate_size=37, head_dim=8,
                                      num_hidden_layers=3, num_attention_heads=4, num_key_value_heads=2)
    return tokenizer, transformers.Qwen3Model(config)


def vae(channels, scaling, shift):
    return diffusers.AutoencoderKL(
        block_out_channels=(8, 8, 16, 16), down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4, latent_channels=channels, norm_num_groups=4, layers_per_block=1,
        scaling_factor=scaling, shift_factor=shift, use_quant_conv=False, use_post_quant_conv=False)


def flux():
    tokenizer, vocabulary = clip_tokenizer()
    tokenizer_2, text_encoder_2 = t5()
    network = diffusers.FluxTransformer2DModel(
        patch_size=1, in_channels=64, num_layers=1, num_single_layers=1, attention_head_dim=16, num_attention_heads=4,
        joint_attention_dim=WIDTH, pooled_projection_dim=WIDTH, guidance_embeds=True, axes_dims_rope=(4, 6, 6))
    pipeline = diffusers.FluxPipeline(
        scheduler=diffusers.FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True), vae=vae(16, 0.3611, 0.1159),
        text_encoder=clip(vocabulary), tokenizer=tokenizer, text_encoder_2=text_encoder_2, tokenizer_2=tokenizer_2,
        transformer=network)
    return pipeline, {"family": "flux", "config": {"axes_dim": [4, 6, 6]}}, {"guidance_scale": 3.5}


def sdxl():
    tokenizer, vocabulary = clip_tokenizer()
    network = diffusers.UNet2DConditionModel(
        sample_size=8, block_out_channels=(32, 64), layers_per_block=1, norm_num_groups=32,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"), up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        attention_head_dim=(2, 4), use_linear_projection=True, addition_embed_type="text_time",
        addition_time_embed_dim=256, transformer_layers_per_block=(1, 2),
        projection_class_embeddings_input_dim=WIDTH + 6 * 256, cross_attention_dim=2 * WIDTH)
    pipeline = diffusers.StableDiffusionXLPipeline(
        scheduler=diffusers.EulerDiscreteScheduler(
            beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", timestep_spacing="leading", steps_offset=1),
        vae=vae(4, 0.13025, None), text_encoder=clip(vocabulary), tokenizer=tokenizer,
        text_encoder_2=clip(vocabulary, WIDTH), tokenizer_2=tokenizer, unet=network, force_zeros_for_empty_prompt=False)
    about = {"family": "sdxl", "config": {"num_head_channels": 16}}
    return pipeline, about, {"guidance_scale": 6.0, "negative_prompt": NEGATIVE}


def zimage():
    tokenizer, text_encoder = qwen()
    network = diffusers.ZImageTransformer2DModel(
        in_channels=16, dim=64, n_layers=1, n_refiner_layers=1, n_heads=2, n_kv_heads=2, cap_feat_dim=WIDTH,
        axes_dims=[8, 12, 12], axes_lens=[256, 64, 64])
    pipeline = diffusers.ZImagePipeline(
        scheduler=diffusers.FlowMatchEulerDiscreteScheduler(shift=3.0), vae=vae(16, 0.3611, 0.1159),
        text_encoder=text_encoder, tokenizer=tokenizer, transformer=network)
    return pipeline, {"family": "zimage", "config": {"axes_dims": [8, 12, 12], "qk_norm_eps": 1e-5}}, {"guidance_scale": 0.0}


def randomise(pipeline):
    """Weights that leave no part unseen: norms near 1, everything else not zero."""
    for part in pipeline.components.values():
        if isinstance(part, torch.nn.Module):
            for name, weight in part.named_parameters():
                if weight.ndim <= 1:
                    weight.data = torch.randn_like(weight) * 0.2 + (1.0 if "norm" in name and "weight" in name else 0.0)
                else:
                    weight.data = torch.randn_like(weight) * (1.0 / weight[0].numel()) ** 0.5
            part.eval()


def seen_by_flux(noise):
    """[N, 16, H, W] -> [N, H/2 * W/2, 64], as FluxPipeline wants its start."""
    n, c, h, w = noise.shape
    return noise.reshape(n, c, h // 2, 2, w // 2, 2).permute(0, 2, 4, 1, 3, 5).reshape(n, h * w // 4, 4 * c)


def unseen_by_flux(latents, height, width):
    n = len(latents)
    return latents.reshape(n, height // 2, width // 2, 16, 2, 2).permute(0, 3, 1, 4, 2, 5).reshape(n, 16, height, width)


@torch.no_grad()
def make(family, make_pipeline, folder):
    torch.manual_seed(1)
    pipeline, about, options = make_pipeline()
    randomise(pipeline)
    pipeline.set_progress_bar_config(disable=True)
    pipeline.save_pretrained(folder / family)
    (folder / family / "model.yaml").write_text(json.dumps(about) + "\n")
    width, height = SIZE
    channels = 4 if family == "sdxl" else 16
    noise = torch.randn(SAMPLES, channels, height // 8, width // 8)
    latents = pipeline(
        prompt=PROMPT, width=width, height=height, num_inference_steps=STEPS, num_images_per_prompt=SAMPLES,
        latents=seen_by_flux(noise) if family == "flux" else noise.clone(), output_type="latent", **options).images.float()
    if family == "flux":
        latents = unseen_by_flux(latents, height // 8, width // 8)
    config = pipeline.vae.config
    pixels = pipeline.vae.decode(latents / config.scaling_factor + (config.shift_factor or 0)).sample
    sigmas = pipeline.scheduler.sigmas.float()
    # diffusers starts SDXL's from noise * sqrt(sigma^2 + 1), requests whose first sigma is not the model's from noise * sigma.
    start = pipeline.scheduler.init_noise_sigma / sigmas[0] if family == "sdxl" else 1.0
    reference = {
        "noise": noise * start, "sigmas": sigmas, "latents": latents,
        "pixels": (pixels / 2 + 0.5).clamp(0, 1).permute(0, 2, 3, 1),
    }
    save_file({name: value.contiguous() for name, value in reference.items()}, folder / f"{family}.reference.safetensors")


def main():
    for family, make_pipeline in (("flux", flux), ("sdxl", sdxl), ("zimage", zimage)):
        make(family, make_pipeline, pathlib.Path(sys.argv[1]))


if __name__ == "__main__":
    main()
