"""What a cluster computes is what ComfyUI computed: tests/fixtures."""

import json

import numpy as np
import pytest

import tensors
from cluster import ROOT, Cluster

FIXTURES = ROOT / "tests" / "fixtures"
NETWORKS = sorted(path.stem for path in (FIXTURES / "models").glob("flux_*.safetensors"))
PIPELINES = sorted(path.stem for path in (FIXTURES / "pipelines").glob("flux_*.safetensors"))
BASES = {f"models/{name}.safetensors": name for name in NETWORKS}
YAML = """
family: flux
config: {{axes_dim: {axes_dim}, num_heads: {num_heads}}}
prediction: flow
sampling: {{type: flux, shift: 1.15}}
"""


class Fixture(tensors.File):
    def __init__(self, path):
        super().__init__(path)
        self.json = json.loads(self.metadata["json"])

    def starting(self, prefix):
        return {name.removeprefix(prefix): array for name, array in self.tensors.items() if name.startswith(prefix)}

    def conditions(self, names):
        return {f"cond__0__{name}": self.tensors[f"in.{name}"] for name in names if f"in.{name}" in self.tensors}

    def check(self, values, expected):
        tolerance = {"rtol": self.json["rtol"], "atol": self.json["atol"]}
        np.testing.assert_allclose(values, self.tensors[expected], **tolerance)


def network(name):
    return Fixture(FIXTURES / "models" / f"{name}.safetensors")


def make_model(folder, fixture):
    """A model folder with the fixture's network, its weights as they are."""
    folder.mkdir()
    (folder / "model.yaml").write_text(YAML.format(**fixture.json["config"]))
    dtypes = {name.removeprefix("weights."): dtype for name, dtype in fixture.dtypes.items()}
    tensors.write(folder / "weights.safetensors", fixture.starting("weights."), dtypes=dtypes)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    models = tmp_path_factory.mktemp("models")
    for name in NETWORKS:
        make_model(models / name, network(name))
    with Cluster(2, models=models) as cluster:
        yield cluster


@pytest.mark.parametrize("name", NETWORKS)
def test_a_forward_pass_over_two_workers(cluster, tmp_path, name):
    fixture = network(name)
    x, timestep = fixture.tensors["in.x"], fixture.tensors["in.timestep"]
    request = tensors.write_request(
        tmp_path / "request", {"op": "forward", "model": name, "samples": len(x)}, x=x, timestep=timestep,
        **fixture.conditions(["context", "y", "guidance"]),
    )
    result = cluster.run("--request", request, command="forward")
    assert len(result.shares()) == min(len(x), 2)
    fixture.check(result.values, "out.y")


@pytest.mark.parametrize("given", [True, False], ids=["its noise", "its seed"])
@pytest.mark.parametrize("name", PIPELINES)
def test_a_whole_sampling_run_over_two_workers(cluster, tmp_path, name, given):
    fixture = Fixture(FIXTURES / "pipelines" / f"{name}.safetensors")
    document = {
        "op": "sample", "model": BASES[fixture.json["base"]], "samples": 2, "seed": fixture.json["seed"],
        "sampler": {"name": fixture.json["sampler"]}, "positive": [{"tensors": "cond.0"}],
        "schedule": {"name": fixture.json["scheduler"], "steps": fixture.json["steps"]}, "scheduling": "static",
    }
    arrays = {f"cond__0__{name}": fixture.tensors[f"in.positive.{name}"] for name in ("context", "y")}
    arrays |= {"cond__0__guidance": [fixture.json["guidance"]], "latent": fixture.tensors["in.latent"]}
    if given:
        document["noise"] = "given"
        arrays["noise"] = fixture.tensors["in.noise"]
        if "noise.z" in fixture.tensors:
            arrays["step_noise"] = fixture.tensors["noise.z"]
    result = cluster.run("--request", tensors.write_request(tmp_path / "request", document, **arrays))
    assert list(result.shares().values()) == [1, 1]
    fixture.check(result.values, "out.x")
