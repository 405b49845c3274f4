"""pa-encode, pa sample, pa-decode: what diffusers makes of a prompt, for tiny random models of every family.

Needs a Python with torch, diffusers, transformers and Pillow: PA_PYTHON, or this one.
"""

import json
import shutil

import numpy as np
import pytest

import tensors
from cluster import DONE, INVALID, Cluster
from python_client import made_by, needs, python

FAMILIES = {"flux": [], "sdxl": ["--cfg", 6, "--negative", "blur"], "zimage": []}
PROMPT, SIZE, STEPS = "a red fox in the snow", "64x48", 4  # As in tiny_pipelines.py.


pytestmark = needs("diffusers", "transformers", "torch", "PIL")


@pytest.fixture(scope="module", name="pipelines")
def make_pipelines(tmp_path_factory):
    return made_by("tiny_pipelines.py", tmp_path_factory.mktemp("pipelines"))


@pytest.fixture(scope="module", name="cluster")
def make_cluster(pipelines, tmp_path_factory):
    models = tmp_path_factory.mktemp("models")
    for family in FAMILIES:  # As they are: the worker finds the network in them.
        shutil.copytree(pipelines / family, models / family)
    with Cluster(2, models=models) as cluster:
        yield cluster


def encode(pipelines, family, out, *options, size=SIZE):
    return python("-m", "parallelanything.encode", PROMPT, "--encoders", pipelines / family, "--model", family,
                  "--out", out, "--count", 2, "--size", size, "--steps", STEPS, *options)


def with_noise(path, reference):
    """The request with diffusers' noise and sigmas in place of a seed and a schedule."""
    file = tensors.File(path)
    request = json.loads(file.metadata["request"])
    del request["schedule"]
    # By weight, so that both workers have a part however busy the machine is.
    request.update(scheduling="static", noise="given", sampler={"name": "euler"},
                   sigmas=reference.tensors["sigmas"].tolist())
    arrays = {**file.tensors, "noise": reference.tensors["noise"]}
    return tensors.write(path.with_suffix(".given"), arrays, {"request": json.dumps(request)})


@pytest.mark.parametrize("family", FAMILIES)
def test_pictures_are_those_of_diffusers(cluster, pipelines, tmp_path, family):
    request = tmp_path / "request"
    made = encode(pipelines, family, request, *FAMILIES[family])
    assert made.returncode == DONE, made.stderr
    assert made.stderr == "", "nothing but what concerns the user"
    reference = tensors.File(pipelines / f"{family}.reference.safetensors")
    run = cluster.start("--request", with_noise(request, reference))
    result = run.result()
    assert len(result.shares()) == 2 and sum(result.shares().values()) == 2
    np.testing.assert_allclose(result.values, reference.tensors["latents"], rtol=1e-3, atol=1e-3)

    made = python("-m", "parallelanything.decode", run.out, "--vae", pipelines / family, "--out", tmp_path / "pictures")
    assert made.returncode == DONE, made.stderr
    assert made.stderr == ""
    pictures = sorted((tmp_path / "pictures").glob("*.png"))
    assert [path.name for path in pictures] == ["0000.png", "0001.png"]
    show = ("import sys, json, PIL.Image as I; p = I.open(sys.argv[1]); "
            "print(json.dumps([p.size, p.info, list(p.tobytes())]))")
    for path, expected in zip(pictures, reference.tensors["pixels"]):
        (width, height), info, values = json.loads(python("-c", show, path).stdout)
        assert f"{width}x{height}" == SIZE
        assert json.loads(info["request"])["model"] == family
        pixels = np.array(values).reshape(height, width, 3)
        assert np.abs(pixels - 255 * expected).max() <= 2
        assert pixels.std() > 5, "something is to be seen"


def test_a_request_runs_as_it_is(cluster, pipelines, tmp_path):
    request = tmp_path / "request"
    assert encode(pipelines, "flux", request).returncode == DONE
    assert cluster.run("--request", request).values.shape == (2, 16, 6, 8)


@pytest.mark.parametrize(("family", "options", "said"), [
    ("flux", {"--negative": "blur"}, "--negative: has no say at --cfg 1"),
    ("sdxl", {"--guidance": 3}, "--guidance: an input of FLUX.1-dev's network"),
    ("flux", {"--encoders": "/none"}, "/none/model_index.json: not there"),
    ("flux", {"--out": "/none/file"}, "/none/file"),
])
def test_encode_says_what_is_wrong(pipelines, tmp_path, family, options, said):
    made = encode(pipelines, family, tmp_path / "out", *(word for pair in options.items() for word in pair))
    assert made.returncode == INVALID
    assert said in made.stderr and "Traceback" not in made.stderr


def test_encode_names_a_missing_part(pipelines, tmp_path):
    torn = tmp_path / "torn"
    shutil.copytree(pipelines / "flux", torn)
    shutil.rmtree(torn / "text_encoder_2")
    made = python("-m", "parallelanything.encode", PROMPT, "--encoders", torn, "--model", "m", "--out", tmp_path / "out")
    assert made.returncode == INVALID and f"{torn / 'text_encoder_2'}: not there" in made.stderr


def test_encode_refuses_odd_sizes(pipelines, tmp_path):
    made = encode(pipelines, "flux", tmp_path / "out", size="100x64")
    assert made.returncode == 2 and "multiples of 16" in made.stderr


def test_decode_says_what_is_wrong(pipelines, tmp_path):
    latents = tensors.write(tmp_path / "four", {"samples": np.zeros((1, 4, 8, 8), np.float32)})
    other = tensors.write(tmp_path / "other", {"output": np.zeros((1, 4, 8, 8), np.float32)})
    for path, vae, said in ((latents, pipelines / "flux", "4 channels; the VAE"), (other, pipelines / "sdxl", "'samples'"),
                            (tmp_path / "none", pipelines / "sdxl", "none"), (latents, tmp_path, "config.json: not there")):
        made = python("-m", "parallelanything.decode", path, "--vae", vae, "--out", tmp_path / "pictures")
        assert made.returncode == INVALID
        assert said in made.stderr and "Traceback" not in made.stderr


def test_latents_are_shown_in_the_colours_that_the_vae_gives_them(pipelines, tmp_path):
    fitted = python("-m", "parallelanything.colours", "--vae", pipelines / "flux")
    assert fitted.returncode == DONE, fitted.stderr
    models = tmp_path / "models"
    shutil.copytree(pipelines / "flux", models / "flux")
    shutil.copytree(pipelines / "flux", models / "grey")
    about = json.loads((models / "flux" / "model.yaml").read_text())
    lines = [f"{key}: {json.dumps(value)}\n" for key, value in about.items()]
    (models / "flux" / "model.yaml").write_text("".join(lines) + fitted.stdout)
    request = tmp_path / "request"
    assert encode(pipelines, "flux", request).returncode == DONE
    spread = ("import sys, PIL.Image as I; "
              "print(max(max(p) - min(p) for p in I.open(sys.argv[1]).crop((16, 16, 100, 80)).getdata()))")
    with Cluster(1, models=models) as cluster:
        drawn = {}
        for model in ("flux", "grey"):
            picture = tmp_path / f"{model}.png"
            cluster.run("--request", request, "--model", model, "--png", picture)
            drawn[model] = int(python("-c", spread, picture).stdout)
    assert drawn["grey"] < 10, "black to white"
    assert drawn["flux"] > 20


def test_colours_are_those_of_a_vae_that_is_linear():
    code = """
import torch
from parallelanything.colours import fit, made_up
pictures = made_up(4)
mix = torch.tensor([[0.5, 0.2, 0.0], [0.1, 0.4, 0.3], [0.0, 0.3, -0.6], [0.2, 0.2, 0.2]])
small = torch.nn.functional.adaptive_avg_pool2d(pictures, 32)
latents = torch.einsum("ck,nkhw->nchw", mix, small) + 0.25
bias, factors, explained = fit(latents, pictures)
again = bias + torch.einsum("nchw,ck->nhwk", latents.double(), factors)
print((again - (small.permute(0, 2, 3, 1) / 2 + 0.5)).abs().max().item() < 1e-5 and explained > 0.9999)
"""
    assert python("-c", code).stdout == "True\n"


def test_colours_say_what_is_wrong(pipelines, tmp_path):
    for arguments, said in (["--vae", tmp_path], "config.json: not there"), (
            ["--vae", pipelines / "flux", "--pictures", tmp_path], "there is no picture in it"):
        made = python("-m", "parallelanything.colours", *arguments)
        assert made.returncode == INVALID
        assert said in made.stderr and "Traceback" not in made.stderr
