"""Clients outlive the coordinator: they send their requests again to the next one."""

import signal

import numpy as np

from cluster import Cluster, wait_for

COUNT = 16


def test_a_batch_survives_the_death_of_the_coordinator():
    with Cluster(["name=a,sim=30ms+10ms", "name=b,sim=30ms+10ms"]) as cluster:
        run = cluster.start_digits(COUNT)
        wait_for("steps of worker a", lambda: cluster.computing("a"))
        killed = cluster.pid("coordinator")
        cluster.signal("coordinator", signal.SIGKILL)
        code, _, err = run.end()
        assert code == 0, err
        assert "the coordinator has begun the request anew" in err
        assert cluster.pid("coordinator") not in (0, killed)
        undisturbed = cluster.digits(COUNT)
        assert np.abs(run.result().values - undisturbed.values).max() <= 1e-5
        assert cluster.process.poll() is None


def test_a_client_that_lost_patience_says_so():
    with Cluster(["name=a,sim=30ms+10ms"]) as cluster:
        run = cluster.start_digits(COUNT, "--patience", 2)
        wait_for("steps of worker a", lambda: cluster.computing("a"))
        cluster.signal("coordinator", signal.SIGSTOP)
        code, _, err = run.end()
        assert code == 4
        assert "has been silent for" in err
        assert cluster.file()["client"] in err
