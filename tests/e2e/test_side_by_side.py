"""Clusters with state directories of their own do not meet."""

from cluster import Cluster


def test_two_clusters_run_at_once():
    with Cluster(["name=left"]) as left, Cluster(["name=right"]) as right:
        runs = [cluster.start_digits(8, "--steps", 4) for cluster in (left, right)]
        assert [run.result().shares() for run in runs] == [{"left": 8}, {"right": 8}]
        assert set(left.workers()) == {"left"}
        assert set(right.workers()) == {"right"}
