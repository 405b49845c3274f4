"""Every sampler fixture as a model folder and a request file, through `pa sample` on two workers."""

import json

import numpy as np
import pytest

import tensors
from cluster import ROOT, Cluster

FIXTURES = sorted((ROOT / "tests" / "fixtures" / "samplers").glob("*.safetensors"))


class Fixture(tensors.File):
    def __init__(self, path):
        super().__init__(path)
        self.json = json.loads(self.metadata["json"])

    def get(self, name):
        return self.tensors.get(name)

    def model(self):
        return f"{self.json['model']}-{self.json['denoiser']['kind']}"

    def model_yaml(self):
        """JSON is YAML, too."""
        told = {key: self.json[key] for key in ("prediction", "sampling", "denoiser")}
        return json.dumps({"family": "analytic", **told})

    def conditions(self):
        """The request's `positive` and `negative`, and their tensors."""
        lists, arrays = {"positive": [], "negative": []}, {}
        for polarity, conditions in lists.items():
            for condition in self.json[polarity]:
                prefix = f"cond.{len(arrays)}"
                arrays[f"{prefix}.mu"] = [condition["mu"]]
                conditions.append({
                    "tensors": prefix, "strength": condition.get("strength", 1.0),
                    "start": condition.get("start_percent", 0.0), "end": condition.get("end_percent", 1.0),
                })
        mask = self.get("in.cond_mask")
        if mask is not None:
            lists["positive"][0]["mask"] = "hole"
            arrays["hole"] = mask
        return lists, arrays

    def request(self):
        """The request and its tensors."""
        told = self.json
        noise, sigmas = self.tensors["in.noise"], self.tensors["in.sigmas"]
        lists, arrays = self.conditions()
        document = {
            "op": "sample", "model": self.model(), "samples": len(noise), "seed": told["seed"],
            "sampler": {"name": told["sampler"], "options": told.get("options", {})},
            "sigmas": [float(sigma) for sigma in sigmas], "leftover_noise": bool(sigmas[-1] > 0),
            "guidance": {"cfg": told["cfg"]}, "scheduling": "static", **lists,
        }
        arrays["latent"] = self.tensors["in.latent"]
        if told.get("disable_noise"):
            document["add_noise"] = False
        else:
            document["noise"] = "given"
            arrays["noise"] = noise
        if "in.mask" in self.tensors:
            document["inpaint"] = {}
            arrays["mask"] = self.tensors["in.mask"]
        if "noise.z" in self.tensors:
            arrays["step_noise"] = self.tensors["noise.z"]
        return document, arrays

    def check(self, values):
        tolerance = {"rtol": 0, "atol": self.json["atol"] + self.json["rtol"] * np.abs(self.tensors["out.x"]).max()}
        np.testing.assert_allclose(values, self.tensors["out.x"], **tolerance)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    models = tmp_path_factory.mktemp("models")
    for path in FIXTURES:
        fixture = Fixture(path)
        folder = models / fixture.model()
        folder.mkdir(exist_ok=True)
        (folder / "model.yaml").write_text(fixture.model_yaml())
    with Cluster(2, models=models) as cluster:
        yield cluster


@pytest.mark.parametrize("path", FIXTURES, ids=lambda path: path.stem)
def test_a_fixture(cluster, tmp_path, path):
    fixture = Fixture(path)
    document, arrays = fixture.request()
    arrays = {name.replace(".", "__"): array for name, array in arrays.items()}
    result = cluster.run("--request", tensors.write_request(tmp_path / "request", document, **arrays))
    assert len(result.shares()) == min(document["samples"], 2)
    fixture.check(result.values)
