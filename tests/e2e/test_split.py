"""A result does not depend on which workers made it."""

import numpy as np
import pytest

import tensors
from cluster import Cluster

BY_WEIGHT = ("--set", "scheduling=static")
TOLERANCE = 1e-5  # Of pixels from -1 to 1: what batches of other sizes change in floating point.


@pytest.fixture(scope="module")
def one():
    with Cluster(1) as cluster:
        yield cluster


@pytest.fixture(scope="module")
def two():
    with Cluster(2) as cluster:
        yield cluster


@pytest.fixture(scope="module")
def four():
    with Cluster(4) as cluster:
        yield cluster


def difference(left, right):
    assert left.values.shape == right.values.shape
    return np.abs(left.values - right.values).max()


@pytest.mark.parametrize("sampler", ["euler", "dpmpp_2m", "euler_ancestral", "dpmpp_2m_sde", "lcm"])
def test_two_workers_make_what_one_makes(one, two, sampler):
    alone, split = (cluster.digits(21, "--sampler", sampler, "--steps", 6, *BY_WEIGHT) for cluster in (one, two))
    assert len(alone.shares()) == 1
    assert sorted(split.shares().values()) == [10, 11]
    assert difference(alone, split) <= TOLERANCE


@pytest.mark.parametrize("noise", ["comfy", "keyed"])
@pytest.mark.parametrize("sampler", ["euler_ancestral", "dpmpp_sde", "sa_solver"])
def test_noise_on_the_way_is_the_same_in_every_bit(one, two, sampler, noise):
    options = ["--sampler", sampler, "--steps", 6, "--set", f"noise={noise}", "--set", "deterministic=true", *BY_WEIGHT]
    alone, split = (cluster.digits(5, *options) for cluster in (one, two))
    assert len(split.shares()) == 2
    assert difference(alone, split) == 0


@pytest.mark.parametrize("count", [1, 2, 3])
def test_four_workers_share_less_than_a_sample_each(one, four, count):
    alone, split = (cluster.digits(count, "--steps", 4, *BY_WEIGHT) for cluster in (one, four))
    assert list(split.shares().values()) == [1] * count
    assert difference(alone, split) <= TOLERANCE


def test_the_same_request_gives_the_same_result_again(two):
    first, second = (two.digits(21, "--steps", 4, *BY_WEIGHT) for _ in range(2))
    assert difference(first, second) == 0


def test_requests_that_run_at_once_do_not_mix(two):
    runs = [two.start_digits(count, "--steps", 10, seed=count) for count in (5, 6, 7)]
    together = [run.result() for run in runs]
    for count, result in zip((5, 6, 7), together):
        assert difference(result, two.digits(count, "--steps", 10, seed=count)) <= TOLERANCE


def test_another_seed_gives_another_result(two):
    assert difference(two.digits(4, "--steps", 4), two.digits(4, "--steps", 4, seed=2)) > 0.1


def test_the_report_tells_each_sample_in_order(two):
    samples = two.digits(21, "--steps", 2).report["samples"]
    assert [sample["sample"] for sample in samples] == list(range(21))
    assert {sample["worker"] for sample in samples} <= set(two.names())
    assert {(sample["attempts"], sample["steps"]) for sample in samples} == {(1, 2)}


def test_rows_come_back_in_order(tmp_path):
    (tmp_path / "noop").mkdir()
    (tmp_path / "noop" / "model.yaml").write_text("family: noop\n")
    x = np.arange(21 * 16, dtype=np.float32).reshape(21, 1, 4, 4)
    request = tensors.write_request(tmp_path / "request", {"op": "forward", "model": "noop", "samples": 21}, x=x)
    with Cluster(["name=a,weight=2", "name=b,weight=1"], models=tmp_path) as cluster:
        result = cluster.run("--request", request, command="forward")
    assert result.shares() == {"a": 14, "b": 7}
    np.testing.assert_array_equal(result.values, x)
