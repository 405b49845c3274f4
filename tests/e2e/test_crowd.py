"""Requests of different models, samplers, steps, seeds and sizes at once give what each gives alone.

24 requests; 200 with PA_FULL_SIZE=1.
"""

import os
import random
import signal

import numpy as np
import pytest

import tensors
from cluster import MODELS, Cluster, wait_for
from test_fidelity import make_model, network
from test_sampler_fixtures import FIXTURES

REQUESTS = 200 if os.environ.get("PA_FULL_SIZE") else 24
NETWORKS = ["flux_dev_b1", "zimage_b1_8x8", "sdxl_b1_10x6"]
ANALYTIC = """
family: analytic
prediction: edm
sampling: {type: continuous, sigma_max: 80}
denoiser: {kind: mix, weights: [0.6, 0.4], centres: [-0.7, 1.1], vars: [0.09, 0.25]}
"""
SAMPLERS = sorted({path.stem.rpartition("__")[2] for path in FIXTURES})
SCHEDULES = ["simple", "sgm_uniform", "beta", "karras"]
TOLERANCE = 1e-4  # Relative to the largest value, for what shares passes with others.
LIMIT = 900.0  # Seconds in which a crowd is through, however busy the box.
SLOW = "sim=4ms+2ms"  # So that there is a middle to disturb.


def digits(choose):
    """The part of a request that is the model's, and its tensors, for a number of samples."""
    count = choose.randint(1, 4)
    return {"model": "digits", "samples": count, "labels": [str(choose.randint(0, 9)) for _ in range(count)]}, {}


def analytic(choose):
    """Of a model with continuous sigmas."""
    arrays = {"cond__0__mu": [0.5], "cond__1__mu": [-0.3]}
    lists = {"positive": [{"tensors": "cond.0"}], "negative": [{"tensors": "cond.1"}]}
    shape = [choose.randint(1, 4), choose.randint(2, 9), choose.randint(2, 9)]
    return {"model": "analytic", "samples": choose.randint(1, 4), "latent_shape": shape, **lists}, arrays


def of_family(choose, name):
    """A request with negative; conditions are the fixture's, of some of its tokens."""
    inputs = network(name).tensors
    count = choose.randint(1, 3)
    arrays = {}
    shape = [inputs["in.x"].shape[1], choose.randint(4, 10), choose.randint(4, 10)]
    tokens = choose.randint(3, inputs["in.context"].shape[1])
    for condition, sign in enumerate((1, -1)):
        arrays[f"cond__{condition}__context"] = sign * inputs["in.context"][:1, :tokens]
        for extra in ("y", "guidance"):
            if f"in.{extra}" in inputs:
                arrays[f"cond__{condition}__{extra}"] = inputs[f"in.{extra}"][:1]
    lists = {"positive": [{"tensors": "cond.0"}], "negative": [{"tensors": "cond.1"}]}
    return {"model": name, "samples": count, "latent_shape": shape, **lists}, arrays


def members():
    """Requests and their tensors; the same ones every time."""
    choose = random.Random(6)
    samplers = []
    while len(samplers) < REQUESTS:
        samplers += choose.sample(SAMPLERS, len(SAMPLERS))
    for i in range(REQUESTS):
        kind = i % 5
        document, arrays = (digits, analytic)[kind](choose) if kind < 2 else of_family(choose, NETWORKS[kind - 2])
        yield {
            "op": "sample", **document, "seed": choose.randint(0, 1 << 40), "sampler": {"name": samplers[i]},
            "schedule": {"name": choose.choice(SCHEDULES), "steps": choose.randint(3, 9)},
            "guidance": {"cfg": choose.choice([1.0, 2.0])}, "noise": choose.choice(["comfy", "keyed"]),
            "priority": choose.randint(0, 2),
        }, arrays


class Crowd:
    def __init__(self, folder):
        self.folder = folder
        self.models = folder / "models"
        self.models.mkdir()
        (self.models / "digits").symlink_to(MODELS / "digits")
        (self.models / "analytic").mkdir()
        (self.models / "analytic" / "model.yaml").write_text(ANALYTIC)
        for name in NETWORKS:
            make_model(self.models / name, network(name))
        self.members = list(members())
        with Cluster(2, models=self.models) as cluster:
            self.expected = [self.start(cluster, i, True).result().values for i in range(REQUESTS)]

    def start(self, cluster, i, deterministic):
        document, arrays = self.members[i]
        path = self.folder / f"{i}-{deterministic}"
        if not path.exists():
            tensors.write_request(path, {**document, "deterministic": deterministic}, **arrays)
        return cluster.start("--request", path, limit=LIMIT)

    def start_all(self, cluster, deterministic=True):
        return [self.start(cluster, i, deterministic) for i in range(REQUESTS)]

    def check_bits(self, results):
        for (document, _), result, expected in zip(self.members, results, self.expected, strict=True):
            np.testing.assert_array_equal(result.values, expected, str(document))


@pytest.fixture(scope="module")
def crowd(tmp_path_factory):
    return Crowd(tmp_path_factory.mktemp("crowd"))


def results_of(runs):
    return [run.result() for run in runs]


def test_deterministic_requests_give_the_bits_that_each_gives_alone(crowd):
    with Cluster(2, models=crowd.models) as cluster:
        results = results_of(crowd.start_all(cluster))
        assert {worker for result in results for worker in result.shares()} == set(cluster.names())
    crowd.check_bits(results)


def test_others_give_the_same_but_for_rounding(crowd):
    with Cluster(2, models=crowd.models) as cluster:
        results = results_of(crowd.start_all(cluster, deterministic=False))
    for (document, _), result, expected in zip(crowd.members, results, crowd.expected, strict=True):
        scale = max(1.0, np.abs(expected).max())
        np.testing.assert_allclose(result.values, expected, rtol=0, atol=TOLERANCE * scale, err_msg=str(document))


def test_a_killed_and_a_drained_worker_change_no_bit(crowd):
    with Cluster([f"name=a,{SLOW}", f"name=b,{SLOW}"], models=crowd.models) as cluster:
        runs = crowd.start_all(cluster)
        for name in ("a", "b"):
            wait_for(f"steps of worker {name}", lambda: cluster.computing(name))
        killed, drained = cluster.pid("a"), cluster.pid("b")
        cluster.signal("a", signal.SIGKILL)
        wait_for("another process for worker a", lambda: cluster.pid("a") not in (0, killed))
        wait_for("worker a at work again", lambda: cluster.workers()["a"]["state"] == "live" and cluster.computing("a"))
        assert any(run.process.poll() is None for run in runs), "nothing was left to drain"
        cluster.signal("b", signal.SIGTERM)
        results = results_of(runs)
        assert cluster.pid("b") != drained
    crowd.check_bits(results)
    assert max(attempts for result in results for attempts in result.attempts()) >= 2
