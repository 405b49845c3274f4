"""With static scheduling, weights say how many samples of a batch a worker gets, whatever the batch and the weights."""

import pytest

from cluster import Cluster

STATIC = ("--set", "scheduling=static")
CASES = [
    ([70, 30], {21: [15, 6], 1: [1, 0], 10: [7, 3]}),
    ([97, 1, 1, 1], {4: [4, 0, 0, 0], 5: [5, 0, 0, 0], 8: [8, 0, 0, 0], 21: [21, 0, 0, 0], 100: [97, 1, 1, 1]}),
    ([40, 40, 15, 5], {21: [9, 8, 3, 1], 20: [8, 8, 3, 1], 3: [1, 1, 1, 0]}),
    ([1, 0], {5: [5, 0]}),
]


def in_classes(weights, shares):
    """Workers of equal weight are told apart by who came first, which is chance."""
    return sorted(zip(weights, shares))


@pytest.mark.parametrize(("weights", "batches"), CASES, ids=lambda case: "-".join(map(str, case)))
def test_batches_are_shared_out_by_weight(weights, batches):
    names = "abcd"[: len(weights)]
    with Cluster([f"name={name},weight={weight}" for name, weight in zip(names, weights)]) as cluster:
        for count, expected in batches.items():
            result = cluster.digits(count, "--steps", 1, *STATIC)
            shares = [result.shares().get(name, 0) for name in names]
            assert in_classes(weights, shares) == in_classes(weights, expected)
            assert result.values.shape == (count, 1, 8, 8)


def test_the_plan_tells_the_shares_and_runs_nothing():
    with Cluster(["name=a,weight=70", "name=b,weight=30"]) as cluster:
        answer = cluster.pa("plan", "--model", "digits", "--labels", "0-9", "--count", 21, *STATIC)
        assert answer.returncode == 0
        rows = sorted(line.split() for line in answer.stdout.splitlines())
        assert [row[:3] for row in rows] == [["a", "cpu", "15"], ["b", "cpu", "6"]]
        assert all(worker["samples_done"] == 0 for worker in cluster.workers().values())
