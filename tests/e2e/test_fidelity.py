"""What a cluster computes is what ComfyUI computed: tests/fixtures."""

import json
import pathlib

import numpy as np
import pytest

import tensors
from cluster import ROOT, Cluster

FIXTURES = ROOT / "tests" / "fixtures"
NETWORKS = {
    path.stem: path
    for folder in ("models", "diffusers")
    for path in sorted((FIXTURES / folder).glob("*.safetensors"))
}
PIPELINES = sorted(path.stem for path in (FIXTURES / "pipelines").glob("*.safetensors"))
LORAS = sorted(path.stem for path in (FIXTURES / "lora").glob("*.safetensors"))


class Fixture(tensors.File):
    def __init__(self, path):
        super().__init__(path)
        self.json = json.loads(self.metadata["json"])

    def starting(self, prefix):
        return {name.removeprefix(prefix): array for name, array in self.tensors.items() if name.startswith(prefix)}

    def conditions(self, start="in.", condition=0):
        """Inputs of the network, of all rows or of one each, as a request has them."""
        return {
            f"cond__{condition}__{name}": array for name, array in self.starting(start).items()
            if name.split(".")[0] in ("context", "y", "guidance")
        }

    def check(self, values, expected):
        tolerance = {"rtol": self.json["rtol"], "atol": self.json["atol"]}
        np.testing.assert_allclose(values, self.tensors[expected], **tolerance)


def network(name):
    return Fixture(NETWORKS[name])


def make_model(folder, fixture):
    """A model folder with the fixture's network, its weights as they are."""
    folder.mkdir()
    (folder / "model.yaml").write_text(f"family: {fixture.json['family']}\nconfig: {json.dumps(fixture.json['config'])}\n")
    dtypes = {name.removeprefix("weights."): dtype for name, dtype in fixture.dtypes.items()}
    tensors.write(folder / "weights.safetensors", fixture.starting("weights."), dtypes=dtypes)
    (folder / "loras").mkdir()


def add_lora(models, name):
    """Puts a fixture's LoRA beside the model that it is for."""
    fixture = Fixture(FIXTURES / "lora" / f"{name}.safetensors")
    if fixture.json["kind"] == "lora":
        dtypes = {name.removeprefix("lora."): dtype for name, dtype in fixture.dtypes.items()}
        path = models / pathlib.Path(fixture.json["base"]).stem / "loras" / f"{name}.safetensors"
        tensors.write(path, fixture.starting("lora."), dtypes=dtypes)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    models = tmp_path_factory.mktemp("models")
    for name in NETWORKS:
        make_model(models / name, network(name))
    for name in LORAS:
        add_lora(models, name)
    with Cluster(2, models=models) as cluster:
        yield cluster


def forward(cluster, path, name, loras=()):
    """The output of the fixture's network for its inputs."""
    fixture = network(name)
    x, timestep = fixture.tensors["in.x"], fixture.tensors["in.timestep"]
    document = {"op": "forward", "model": name, "samples": len(x), "scheduling": "static"}
    if loras:
        document["loras"] = [{"name": lora, "strength": strength} for lora, strength in loras]
    request = tensors.write_request(path, document, x=x, timestep=timestep, **fixture.conditions())
    result = cluster.run("--request", request, command="forward")
    assert len(result.shares()) == min(len(x), 2)
    return result.values


@pytest.mark.parametrize("name", NETWORKS)
def test_a_forward_pass_over_two_workers(cluster, tmp_path, name):
    network(name).check(forward(cluster, tmp_path / "request", name), "out.y")


@pytest.mark.parametrize("name", LORAS)
def test_loras_over_two_workers(cluster, tmp_path, name):
    fixture = Fixture(FIXTURES / "lora" / f"{name}.safetensors")
    base = pathlib.Path(fixture.json["base"]).stem
    if fixture.json["kind"] == "lora_stack":
        stack = [(pathlib.Path(file).stem, strength) for file, strength in fixture.json["stack"]]
        fixture.check(forward(cluster, tmp_path / "request", base, stack), "out.y")
        return
    for strength in fixture.json["strengths"]:
        fixture.check(forward(cluster, tmp_path / "request", base, [(name, strength)]), f"out.y@{strength}")
    network(base).check(forward(cluster, tmp_path / "request", base), "out.y")


def test_switches_of_loras_are_counted(cluster, tmp_path):
    count = "pa_lora_switch_duration_seconds_count"
    before = sum(cluster.metrics(name)[f'{count}{{device="{name}"}}'] for name in cluster.names())
    for loras in ([("flux_kohya", 1.0)], [("flux_kohya", 1.0)], [("flux_peft", 1.0)], []):
        forward(cluster, tmp_path / "request", "flux_dev_b1", loras)
    after = sum(cluster.metrics(name)[f'{count}{{device="{name}"}}'] for name in cluster.names())
    assert after - before >= 3


@pytest.mark.parametrize("given", [True, False], ids=["its noise", "its seed"])
@pytest.mark.parametrize("name", PIPELINES)
def test_a_whole_sampling_run_over_two_workers(cluster, tmp_path, name, given):
    fixture = Fixture(FIXTURES / "pipelines" / f"{name}.safetensors")
    about = fixture.json
    samples = len(fixture.tensors["out.x"])
    arrays = {"latent": fixture.tensors["in.latent"]}
    conditions = fixture.conditions("in.positive.")
    if about["guidance"] is not None:
        conditions["cond__0__guidance"] = [about["guidance"]]
    document = {
        "op": "sample", "model": pathlib.Path(about["base"]).stem, "samples": samples, "seed": about["seed"],
        "sampler": {"name": about["sampler"]}, "positive": [{"tensors": "cond.0"}], "scheduling": "static",
        "schedule": {"name": about["scheduler"], "steps": about["steps"], "denoise": about["denoise"]},
    }
    if about["cfg"] != 1:
        document |= {"guidance": {"cfg": about["cfg"]}, "negative": [{"tensors": "cond.1"}]}
        conditions |= fixture.conditions("in.negative.", condition=1)
    if given:
        document["noise"] = "given"
        arrays["noise"] = fixture.tensors["in.noise"]
        if "noise.z" in fixture.tensors:
            arrays["step_noise"] = fixture.tensors["noise.z"]
    result = cluster.run("--request", tensors.write_request(tmp_path / "request", document, **arrays, **conditions))
    assert list(result.shares().values()) == [1] * samples
    fixture.check(result.values, "out.x")
