"""pa-export: a diffusers network becomes a model folder, as TorchScript or as a package of AOTInductor."""

import argparse
import ctypes
import inspect
import json
import pathlib
import shutil
import sys
import tempfile
import warnings

from parallelanything.failure import Failure, run

FORMATS = {"torchscript": "network.pt", "aotinductor": "network.pt2"}
EXAMPLE_ROWS = 2  # One row would be taken for a constant.
CHECKED_ROWS = (1, 3)
TOLERANCE = 1e-3  # Of the largest number of the network's own answer; compiled kernels round differently.


def load_network(folder, dtype):
    """The network in `folder`, which its config.json names."""
    import diffusers

    config = folder / "config.json"
    try:
        name = json.loads(config.read_text(encoding="utf-8")).get("_class_name")
    except (OSError, ValueError) as error:
        raise Failure(f"{config}: {error}; expected the folder of a network as diffusers saves it") from None
    kind = getattr(diffusers, str(name), None)
    if kind is None:
        raise Failure(f"{config}: diffusers has no class {name}")
    try:
        return kind.from_pretrained(folder, torch_dtype=dtype, local_files_only=True).eval()
    except (OSError, ValueError) as error:
        raise Failure(f"{folder}: {error}") from None


def parse_sizes(text, where):
    try:
        return [int(size) for size in text.split(",") if size]
    except ValueError:
        raise Failure(f"{where}: expected sizes such as 77,768, found '{text}'") from None


def parse_inputs(texts):
    """NAME=SIZES of each --input, in order: {name: sizes}."""
    inputs = {}
    for text in texts:
        name, equals, sizes = text.partition("=")
        if not equals or not name.isidentifier():
            raise Failure(f"--input {text}: expected NAME=SIZES, such as encoder_hidden_states=77,768")
        inputs[name] = parse_sizes(sizes, f"--input {name}")
    return inputs


def wrap(network, inputs):
    """A module with forward(x, timestep, inputs...), which a worker calls: its first answer."""
    import torch

    parameters = list(inspect.signature(network.forward).parameters)
    for name in [*inputs, "timestep"]:
        if name not in parameters:
            raise Failure(f"--input {name}: {type(network).__name__} takes {', '.join(parameters)}")
    latent_name = parameters[0]

    class Wrapped(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.network = network

        def forward(self, x, timestep, *given):
            named = dict(zip(inputs, given))
            return self.network(**{latent_name: x}, timestep=timestep, **named, return_dict=False)[0]

    return Wrapped().eval()


def example(rows, latent, inputs, dtype):
    """What forward() is called with: random, but always the same."""
    import torch

    random = torch.Generator().manual_seed(rows)
    x = torch.randn(rows, *latent, generator=random).to(dtype)
    timestep = torch.linspace(900, 100, rows)
    return (x, timestep, *(torch.randn(rows, *sizes, generator=random).to(dtype) for sizes in inputs.values()))


def save_torchscript(module, arguments, path):
    import torch

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Of what tracing may freeze; check() looks.
        traced = torch.jit.trace(module, arguments, check_trace=False)
    torch.jit.save(traced, str(path))
    return torch.jit.load(str(path))


def save_package(module, arguments, path):
    """The package beside its weights, which are in a file of their own so that processes can share them."""
    import torch
    from safetensors.torch import save_file

    # The compiled code looks for LibTorch's symbols among those of the process, as in a worker.
    ctypes.CDLL(str(pathlib.Path(torch.__file__).parent / "lib" / "libtorch_cpu.so"), mode=ctypes.RTLD_GLOBAL)
    rows = torch.export.Dim.DYNAMIC
    shapes = {"x": {0: rows}, "timestep": {0: rows}, "given": tuple({0: rows} for _ in arguments[2:])}
    # Without this, one row is a case of its own, which the package would not take.
    with torch.fx.experimental._config.patch(backed_size_oblivious=True):
        exported = torch.export.export(module, arguments, dynamic_shapes=shapes)
    torch._inductor.aoti_compile_and_package(exported, package_path=str(path), inductor_configs={
        "aot_inductor.package_constants_in_so": False,
        "aot_inductor.link_libtorch": False,  # The worker has it.
        "always_keep_tensor_constants": True,
    })
    loaded = torch._inductor.aoti_load_package(str(path))
    tensors = {**exported.state_dict, **exported.constants}
    names = loaded.get_constant_fqns()
    missing = [name for name in names if name not in tensors]
    if missing:
        raise Failure(f"the package has constants that the network does not: {', '.join(missing)}")
    weights = {name: tensors[name].detach().contiguous().clone() for name in names}
    save_file(weights, path.with_name("weights.safetensors"))
    loaded.load_constants(weights, check_full_update=True)
    return loaded


def check(module, exported, latent, inputs, dtype):
    """Whatever the export took for a constant shows with other numbers of rows."""
    import torch

    for rows in CHECKED_ROWS:
        arguments = example(rows, latent, inputs, dtype)
        with torch.no_grad():
            wanted = module(*arguments)
            try:
                answer = exported(*arguments)
            except RuntimeError as error:
                raise Failure(f"the exported network does not take {rows} rows: {str(error).splitlines()[0]}") from None
        answer = answer[0] if isinstance(answer, (tuple, list)) else answer
        error = (answer - wanted).abs().max().item() / max(wanted.abs().max().item(), 1e-12)
        if answer.shape != wanted.shape or not error <= TOLERANCE:
            raise Failure(f"the exported network answers {rows} rows differently, by {error:.1e} of the largest number")


def model_yaml(arguments, latent, inputs):
    lines = [
        f"family: {arguments.format}",
        f"file: {FORMATS[arguments.format]}",
        f"prediction: {arguments.prediction}",
        f"dtype: {arguments.dtype}",
        "latent: {" + ", ".join(f"{name}: {size}" for name, size in zip(("channels", "height", "width"), latent)) + "}",
        "inputs:",
        *(f"  - {{name: {name}, shape: {sizes}}}" for name, sizes in inputs.items()),
    ]
    return "\n".join(lines if inputs else lines[:-1]) + "\n"


def export(arguments):
    import torch

    dtype = {"F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}[arguments.dtype]
    latent = parse_sizes(arguments.latent, "--latent")
    if len(latent) != 3 or min(latent) < 1:
        raise Failure(f"--latent {arguments.latent}: expected CHANNELS,HEIGHT,WIDTH")
    inputs = parse_inputs(arguments.input)
    out = pathlib.Path(arguments.out)
    if out.exists():
        raise Failure(f"{out}: is there already; name a folder that is not")
    module = wrap(load_network(pathlib.Path(arguments.network), dtype), inputs)
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=".export-") as folder:
        folder = pathlib.Path(folder)
        save = save_torchscript if arguments.format == "torchscript" else save_package
        with torch.no_grad():
            exported = save(module, example(EXAMPLE_ROWS, latent, inputs, dtype), folder / FORMATS[arguments.format])
        check(module, exported, latent, inputs, dtype)
        (folder / "model.yaml").write_text(model_yaml(arguments, latent, inputs), encoding="utf-8")
        out.mkdir()
        for file in folder.iterdir():
            shutil.copyfile(file, out / file.name)  # Not its mode: others may read a model.
    print(f"{out}: {', '.join(sorted(file.name for file in out.iterdir()))}")


def main():
    parser = argparse.ArgumentParser(prog="pa-export", description=__doc__)
    parser.add_argument("network", help="folder of the network as diffusers saves it: config.json and weights")
    parser.add_argument("--out", required=True, help="model folder to make")
    parser.add_argument("--format", choices=sorted(FORMATS), default="torchscript")
    parser.add_argument("--latent", required=True, metavar="C,H,W", help="size of a latent; the only one it will take")
    parser.add_argument("--input", action="append", default=[], metavar="NAME=SIZES",
                        help="an argument of its forward() beside latent and timestep, and the shape of a row")
    parser.add_argument("--prediction", choices=["eps", "v", "flow", "edm"], default="eps")
    parser.add_argument("--dtype", choices=["F32", "F16", "BF16"], default="F32")
    arguments = parser.parse_args()
    sys.exit(run(lambda: export(arguments)))


if __name__ == "__main__":
    main()
