"""pa-encode: a prompt becomes a request file for `pa sample --request`."""

import argparse
import json
import re
import sys

from parallelanything.failure import Failure, run
from parallelanything.pipeline_folder import PipelineFolder

PIXELS = 8  # Of a latent's.
MULTIPLE = 16  # Sizes that every family's network takes without padding.

# What the makers of a family recommend. guidance: an input of the network; cfg: two evaluations a step.
DEFAULTS = {
    "flux": {"steps": 28, "cfg": 1.0, "sampler": "euler", "scheduler": "simple", "length": 512},
    "sdxl": {"steps": 30, "cfg": 6.0, "sampler": "dpmpp_2m", "scheduler": "karras", "length": 77},
    "zimage": {"steps": 8, "cfg": 1.0, "sampler": "euler", "scheduler": "simple", "length": 512},
}
SCHNELL_STEPS = 4
SCHNELL_LENGTH = 256
DEV_GUIDANCE = 3.5

CONDITIONS = {"positive": "cond.0", "negative": "cond.1"}  # Their tensors' names begin so.


def size_of(text):
    match = re.fullmatch(r"(\d+)x(\d+)", text)
    if not match or any(int(side) == 0 or int(side) % MULTIPLE for side in match.groups()):
        raise argparse.ArgumentTypeError(f"expected WIDTHxHEIGHT in multiples of {MULTIPLE}, such as 1024x1024")
    return [int(side) for side in match.groups()]


def defaults_of(folder):
    """Of the family, and for FLUX of the model: schnell's network has no guidance input."""
    values = dict(DEFAULTS[folder.family], guidance=None)
    if folder.family == "flux":
        if folder.config("transformer").get("guidance_embeds", True):
            values["guidance"] = DEV_GUIDANCE
        else:
            values.update(steps=SCHNELL_STEPS, length=SCHNELL_LENGTH)
    return values


def make_request(folder, arguments):
    """The request's JSON as a dict, without its conditions, and the effective options."""
    options = defaults_of(folder)
    for name in options:
        given = getattr(arguments, name)
        if given is not None:
            options[name] = given
    if arguments.guidance is not None and folder.family != "flux":
        raise Failure(f"--guidance: an input of FLUX.1-dev's network; {folder.family} has --cfg")
    if arguments.negative and options["cfg"] == 1:
        raise Failure("--negative: has no say at --cfg 1; expected a --cfg above 1")
    request = {
        "model": arguments.model,
        "samples": arguments.count,
        "size": arguments.size,
        "seed": arguments.seed,
        "sampler": {"name": options["sampler"]},
        "schedule": {"name": options["scheduler"], "steps": options["steps"]},
        "guidance": {"cfg": options["cfg"]},
        "positive": [{"tensors": CONDITIONS["positive"]}],
    }
    if options["cfg"] != 1:
        request["negative"] = [{"tensors": CONDITIONS["negative"]}]
    return request, options


def encode(arguments):
    folder = PipelineFolder(arguments.encoders)
    request, options = make_request(folder, arguments)

    import torch
    from safetensors.torch import save_file

    from parallelanything import conditions

    device = arguments.device or ("cuda" if torch.cuda.is_available() else "cpu")
    dtype = torch.float32 if device == "cpu" else torch.bfloat16
    pipeline = conditions.text_pipeline(folder, device, dtype)
    prompts = {"positive": arguments.prompt}
    if "negative" in request:
        prompts["negative"] = arguments.negative
    tensors = {}
    for polarity, prompt in prompts.items():
        inputs = conditions.encode(pipeline, folder.family, prompt, request["size"], options["length"])
        if options["guidance"] is not None:
            inputs["guidance"] = torch.tensor([options["guidance"]])
        tensors |= {f"{CONDITIONS[polarity]}.{name}": value for name, value in inputs.items()}
    try:
        save_file(tensors, arguments.out, {"request": json.dumps(request)})
    except Exception as error:  # safetensors has its own type for what the system refuses.
        raise Failure(f"{arguments.out}: {error}") from None
    shapes = ", ".join(f"{name} {list(value.shape)}" for name, value in tensors.items())
    print(f"{arguments.out}: {request['samples']} x {folder.family}, {options['steps']} steps; {shapes}")


def parse(words):
    parser = argparse.ArgumentParser(prog="pa-encode", description="Makes a request file from a prompt, with the text "
                                     "encoders of a local model folder in diffusers' layout.")
    parser.add_argument("prompt")
    parser.add_argument("--encoders", required=True, metavar="FOLDER", help="the model's folder in diffusers' layout")
    parser.add_argument("--model", required=True, metavar="NAME", help="the model's name on the cluster's workers")
    parser.add_argument("--out", required=True, metavar="FILE", help="the request file")
    parser.add_argument("--negative", default="", metavar="TEXT", help="what guidance leads away from (default: nothing)")
    parser.add_argument("--count", type=int, default=1, metavar="N", help="how many samples")
    parser.add_argument("--size", type=size_of, default=[1024, 1024], metavar="WxH", help="in pixels (default 1024x1024)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--steps", type=int, help="default: the model's makers'")
    parser.add_argument("--cfg", type=float, help="guidance scale (default: the model's makers')")
    parser.add_argument("--guidance", type=float, help="FLUX.1-dev: the guidance input (default 3.5)")
    parser.add_argument("--sampler", metavar="NAME")
    parser.add_argument("--scheduler", metavar="NAME")
    parser.add_argument("--length", type=int, metavar="TOKENS", help="longest prompt (default 512; schnell 256)")
    parser.add_argument("--device", help="where encoders run (default: cuda if there is one)")
    arguments = parser.parse_args(words)
    if arguments.count < 1:
        parser.error("argument --count: expected 1 or more")
    return arguments


def main(words=None):
    arguments = parse(words)
    return run(lambda: encode(arguments))


if __name__ == "__main__":
    sys.exit(main())
