"""Networks that are not ours, exported by pa-export, answer in a cluster as they do in PyTorch.

Needs a Python with torch and diffusers: PA_PYTHON, or this one.
"""

import contextlib
import json

import numpy as np
import pytest

import tensors
from cluster import DONE, HANG, INVALID, Daemon, Run, pa, short_folder, wait_for
from python_client import made_by, needs, python

FORMATS = ["torchscript", "aotinductor"]
OPTIONS = {
    "unet": ["--input", "encoder_hidden_states=6,8"],
    "dit": ["--input", "encoder_hidden_states=6,8", "--input", "pooled_projections=8", "--prediction", "flow"],
}


pytestmark = needs("diffusers", "torch")


def export(networks, name, out, *options):
    return python("-m", "parallelanything.export", networks / name, "--out", out, "--latent", "4,8,8",
                  *OPTIONS[name], *options)


@pytest.fixture(scope="module", name="networks")
def make_networks(tmp_path_factory):
    return made_by("tiny_networks.py", tmp_path_factory.mktemp("networks"))


@pytest.fixture(scope="module", name="models")
def make_models(networks, tmp_path_factory):
    models = tmp_path_factory.mktemp("models")
    for name in OPTIONS:
        for kind in FORMATS:
            made = export(networks, name, models / f"{name}-{kind}", "--format", kind)
            assert made.returncode == DONE, made.stderr
    return models


def daemons(exits, folder, models, *settings):
    """A coordinator and two workers; what a client connects with."""
    exits.enter_context(Daemon("pa-coordinator", folder, f"run_dir={folder}/run", "journal.folder=''"))
    for name in ("a", "b"):
        (folder / name).mkdir()
        worker = exits.enter_context(Daemon("pa-worker", folder / name, f"connect.run_dir={folder}/run", f"name={name}",
                                            f"models={models}", "threads=1", *settings))
        wait_for(f"worker {name}", worker.is_ready)
    connect = ["--connect", f"ipc://{folder}/run/client.sock"]
    assert pa("status", "--wait", 10, *connect).returncode == DONE
    return connect


@pytest.fixture(scope="module", name="cluster")
def make_cluster(models):
    with short_folder() as folder, contextlib.ExitStack() as exits:
        yield daemons(exits, folder, models, f"compiled_models={models}")


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("name", OPTIONS)
def test_an_exported_network_answers_as_in_pytorch(cluster, networks, tmp_path, name, kind):
    reference = tensors.File(networks / f"{name}.reference.safetensors").tensors
    inputs = {f"cond.0.{key}": value for key, value in reference.items() if key not in ("x", "timestep", "answer")}
    body = {"op": "forward", "model": f"{name}-{kind}", "samples": 3, "scheduling": "static"}
    request = tensors.write(tmp_path / "request", {"x": reference["x"], "timestep": reference["timestep"], **inputs},
                            {"request": json.dumps(body)})
    out = tmp_path / "out"
    result = Run(["forward", *cluster, "--request", request, "--out", out], out, HANG).result()
    assert len(result.shares()) == 2
    np.testing.assert_allclose(result.values, reference["answer"], rtol=1e-4, atol=1e-4)


def test_an_exported_network_is_sampled_from(cluster, networks, tmp_path):
    """The same picture by TorchScript and by machine code."""
    context = tensors.File(networks / "unet.reference.safetensors").tensors["encoder_hidden_states"]
    values = {}
    for kind in FORMATS:
        body = {"op": "sample", "model": f"unet-{kind}", "samples": 3, "seed": 4, "positive": [{"tensors": "cond.0"}],
                "schedule": {"name": "karras", "steps": 4}, "sampler": {"name": "dpmpp_2m"}}
        request = tensors.write(tmp_path / "request", {"cond.0.encoder_hidden_states": context},
                                {"request": json.dumps(body)})
        out = tmp_path / kind
        values[kind] = Run(["sample", *cluster, "--request", request, "--out", out], out, HANG).result().values
    scale = np.abs(values["torchscript"]).max()
    assert np.abs(values["torchscript"] - values["aotinductor"]).max() <= 1e-4 * scale


def test_machine_code_is_refused_unless_it_is_allowed(models):
    with short_folder() as folder, contextlib.ExitStack() as exits:
        daemons(exits, folder, models)
        log = (folder / "a" / "pa-worker.log").read_text()
        for name in OPTIONS:
            assert f'"model":"{name}-aotinductor"' in log and f'"model":"{name}-torchscript"' in log
        assert log.count("is machine code, which runs as this worker") == len(OPTIONS)


@pytest.mark.parametrize(("options", "words"), [
    (["--input", "context=6,8"], "--input context: UNet2DConditionModel takes sample, timestep"),
    (["--input", "encoder_hidden_states=6,x"], "expected sizes"),
    (["--latent", "4,8"], "expected CHANNELS,HEIGHT,WIDTH"),
])
def test_export_says_what_is_wrong(networks, tmp_path, options, words):
    made = export(networks, "unet", tmp_path / "out", *options)
    assert made.returncode == INVALID
    assert words in made.stderr and "Traceback" not in made.stderr
    assert not (tmp_path / "out").exists()
