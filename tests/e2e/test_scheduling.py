"""Unequal devices end together, as their measured costs say. Devices are played: cpu workers that sleep."""

import json

import pytest

from cluster import Cluster, pa

STEPS = 20
FAST, SLOW = (0.005, 0.010), (0.005, 0.025)  # Seconds a pass, and a row in it.
MAX_ROWS = 8
FLOOR = 0.70  # Of the bound; machines that test are loaded. docs/benchmarks.md has the figures of an idle one.


def seconds(device, rows):
    return device[0] + device[1] * rows


def bound(samples):
    """No schedule is faster: samples and steps over the best sum of rates that so many rows allow."""
    def rate(device, rows):
        return rows / seconds(device, rows) if rows else 0

    rates = [
        rate(FAST, a) + rate(SLOW, b)
        for a in range(MAX_ROWS + 1) for b in range(MAX_ROWS + 1) if a + b <= samples
    ]
    return samples * STEPS / max(rates)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    models = tmp_path_factory.mktemp("models")
    (models / "noop").mkdir()
    (models / "noop" / "model.yaml").write_text("family: noop\n")
    with Cluster(["name=a,device=cpu,sim=5ms+10ms", "name=b,device=cpu,sim=5ms+25ms"], models=models) as cluster:
        run(cluster, 16)
        yield cluster


def run(cluster, samples, *arguments):
    return cluster.run(
        "--model", "noop", "--count", samples, "--steps", STEPS, "--set", "latent_shape=[4,8,8]", *arguments
    )


@pytest.mark.parametrize("samples", [8, 21])
def test_they_end_together(cluster, samples):
    best = min(run(cluster, samples).report["seconds"] for _ in range(3))
    assert bound(samples) / best >= FLOOR


def test_they_beat_an_equal_split(cluster):
    equal = min(run(cluster, 21, "--set", "scheduling=static").report["seconds"] for _ in range(2))
    measured = min(run(cluster, 21).report["seconds"] for _ in range(3))
    assert measured < 0.85 * equal


def test_one_sample_goes_to_the_faster_one(cluster):
    assert run(cluster, 1).shares() == {"a": 1}


def test_the_plan_says_why(cluster):
    answer = cluster.pa(
        "plan", "--model", "noop", "--count", 1, "--steps", STEPS, "--set", "latent_shape=[4,8,8]"
    )
    assert answer.returncode == 0, answer.stderr
    a, b, whole = answer.stdout.splitlines()
    assert a.split()[:3] == ["a", "cpu", "1"]
    assert b.split()[:3] == ["b", "cpu", "0"]
    assert "later than a" in b
    assert "all end in" in whole


def test_a_deadline_that_cannot_be_met_is_refused(cluster):
    answer = cluster.pa(
        "sample", "--model", "noop", "--count", 64, "--steps", STEPS, "--set", "latent_shape=[4,8,8]",
        "--set", "deadline_seconds=0.2", "--out", cluster.folder / "late.safetensors",
    )
    assert answer.returncode == 5, answer.stderr
    assert "at least" in answer.stderr


def test_only_named_workers_run_it(cluster):
    assert run(cluster, 8, "--set", 'workers=["b"]').shares() == {"b": 8}
    answer = cluster.pa(
        "sample", "--model", "noop", "--count", 1, "--set", "latent_shape=[4,8,8]", "--set", 'workers=["c"]',
        "--patience", 0, "--out", cluster.folder / "nobody.safetensors",
    )
    assert answer.returncode == 4, answer.stderr
    assert "there is no worker 'c'" in answer.stderr


def test_every_device_can_be_measured(cluster):
    answer = pa(
        "bench", "devices", "--state", cluster.state, "--model", "noop", "--set", "latent_shape=[4,8,8]", "--json"
    )
    assert answer.returncode == 0, answer.stderr
    lines = [json.loads(line) for line in answer.stdout.splitlines()]
    steps = {(line["worker"], line["samples"]): line["step_seconds"] for line in lines}
    assert set(steps) == {(worker, samples) for worker in "ab" for samples in (1, 2, 4, 8)}
    for (worker, samples), took in steps.items():
        assert took >= 0.99 * seconds({"a": FAST, "b": SLOW}[worker], samples)
    assert steps["b", 8] > 1.5 * steps["a", 8]


def test_models_in_memory_are_told(cluster):
    answer = cluster.pa("models", "--json")
    assert answer.returncode == 0, answer.stderr
    assert [sorted(model["loaded"]) for model in json.loads(answer.stdout)] == [["a", "b"]]
