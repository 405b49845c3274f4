"""Workers that die or fall silent cost time, and nothing else."""

import signal

import numpy as np
import pytest

from cluster import Cluster, wait_for

COUNT = 24
SLOW = "sim=30ms+10ms"  # The request takes seconds, so that there is a middle to disturb.
TOLERANCE = 1e-5  # Of pixels from -1 to 1: what batches of other sizes change in floating point.


@pytest.fixture(scope="module")
def expected():
    with Cluster(1) as cluster:
        return cluster.digits(COUNT).values


@pytest.fixture
def cluster():
    with Cluster([f"name=a,{SLOW}", f"name=b,{SLOW}"]) as cluster:
        yield cluster


def start(cluster):
    """A request that both workers are computing."""
    run = cluster.start_digits(COUNT)
    for name in cluster.names():
        wait_for(f"steps of worker {name}", lambda: cluster.computing(name))
    return run


def wait_for_state(cluster, name, state):
    wait_for(f"worker {name} {state}", lambda: cluster.workers()[name]["state"] == state)


def check(result, expected):
    assert result.values.shape == expected.shape
    assert np.abs(result.values - expected).max() <= TOLERANCE


def test_another_worker_makes_what_a_killed_one_had(cluster, expected):
    run = start(cluster)
    killed = cluster.pid("a")
    cluster.signal("a", signal.SIGKILL)
    result = run.result()
    check(result, expected)
    assert max(result.attempts()) >= 2
    wait_for("another process for worker a", lambda: cluster.pid("a") not in (0, killed))
    wait_for_state(cluster, "a", "live")
    check(cluster.digits(COUNT), expected)


def test_another_worker_makes_what_a_silent_one_had(cluster, expected):
    run = start(cluster)
    cluster.signal("a", signal.SIGSTOP)
    wait_for_state(cluster, "a", "lost")
    result = run.result()
    check(result, expected)
    assert max(result.attempts()) >= 2
    assert result.shares().get("b", 0) > COUNT // 2
    cluster.signal("a", signal.SIGCONT)
    wait_for_state(cluster, "a", "live")
    again = cluster.digits(COUNT)
    check(again, expected)
    assert sum(again.shares().values()) == COUNT


def test_a_short_silence_costs_no_attempt(cluster, expected):
    run = start(cluster)
    cluster.signal("a", signal.SIGSTOP)
    wait_for_state(cluster, "a", "suspect")
    cluster.signal("a", signal.SIGCONT)
    result = run.result()
    check(result, expected)
    assert max(result.attempts()) == 1


def test_a_batch_survives_the_death_of_all_workers(cluster, expected):
    run = start(cluster)
    for name in ("a", "b"):
        cluster.signal(name, signal.SIGKILL)
    result = run.result()
    check(result, expected)
    assert max(result.attempts()) >= 2


def test_a_batch_waits_until_one_worker_is_back(cluster, expected):
    run = start(cluster)
    for name in ("a", "b"):
        cluster.signal(name, signal.SIGSTOP)
    for name in ("a", "b"):
        wait_for_state(cluster, name, "lost")
    wait_for("a client that knows", lambda: "waiting: no worker is connected" in run.said())
    cluster.signal("b", signal.SIGCONT)
    check(run.result(), expected)


def test_a_worker_told_to_stop_finishes_what_it_has(cluster, expected):
    run = start(cluster)
    cluster.signal("a", signal.SIGTERM)
    result = run.result()
    check(result, expected)
    assert max(result.attempts()) == 1
    assert result.shares()["a"] > 0
