"""Requests end when they are told to: by their client, by another one, by their deadline."""

import signal

import pytest

from cluster import CANCELLED, DEADLINE, DONE, Cluster, wait_for


@pytest.fixture(scope="module")
def cluster():
    with Cluster(["name=a,sim=100ms+10ms", "name=b,sim=100ms+10ms"]) as cluster:
        yield cluster


def start(cluster, *arguments):
    """A request that would take minutes, once it is under way."""
    run = cluster.start_digits(64, "--steps", 100, *arguments)
    for name in cluster.names():
        wait_for(f"work for {name}", lambda: cluster.workers()[name]["assigned"] > 0)
    return run


def check_end(cluster, run, expected_code, expected_words):
    code, out, err = run.end()
    assert code == expected_code
    assert out == ""
    assert expected_words in err
    assert not run.out.exists()
    wait_for("idle workers", cluster.idle)


def test_ctrl_c_cancels(cluster):
    run = start(cluster)
    run.process.send_signal(signal.SIGINT)
    check_end(cluster, run, CANCELLED, "cancelled")


def test_another_client_cancels(cluster):
    run = start(cluster, "--set", "tag=doomed")
    (request,) = cluster.status()["requests"]
    assert (request["tag"], request["samples"]) == ("doomed", 64)
    answer = cluster.pa("cancel", request["id"])
    assert (answer.returncode, answer.stdout) == (DONE, f"cancelled {request['id']}\n")
    check_end(cluster, run, CANCELLED, "cancelled")


def test_a_deadline_ends_a_request(cluster):
    check_end(cluster, start(cluster, "--set", "deadline_seconds=1.5"), DEADLINE, "deadline")


def test_there_is_nothing_to_cancel(cluster):
    answer = cluster.pa("cancel", "0" * 32)
    assert answer.returncode == 3
    assert f"there is no request {'0' * 32}" in answer.stderr


def test_workers_go_on_after_it_all(cluster):
    assert cluster.digits(4, "--steps", 2, "--set", "scheduling=static").shares() == {"a": 2, "b": 2}
    assert all(worker["state"] == "live" for worker in cluster.workers().values())
