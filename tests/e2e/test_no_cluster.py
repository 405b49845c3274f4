"""Without a cluster, `pa` says so, where it looked, and what to do."""

import pytest

from cluster import DONE, UNAVAILABLE, Cluster, pa, short_folder

SAMPLE = ["sample", "--model", "digits", "--labels", "0-9"]


@pytest.mark.parametrize("command", [SAMPLE, ["plan", *SAMPLE[1:]], ["status"], ["devices"], ["models"]])
def test_an_empty_state_directory_is_named(tmp_path, command):
    answer = pa(*command, "--state", tmp_path)
    assert answer.returncode == UNAVAILABLE
    assert str(tmp_path) in answer.stderr
    assert "pa up" in answer.stderr


def test_waiting_for_a_cluster_ends(tmp_path):
    answer = pa("status", "--state", tmp_path, "--wait", "0.2")
    assert answer.returncode == UNAVAILABLE
    assert str(tmp_path) in answer.stderr


@pytest.mark.parametrize("command", [SAMPLE, ["status"]])
def test_an_endpoint_that_does_not_answer_is_named(command):
    with short_folder() as folder:
        endpoint = f"ipc://{folder}/client.sock"
        answer = pa(*command, "--connect", endpoint)
    assert answer.returncode == UNAVAILABLE
    assert endpoint in answer.stderr
    assert "is it running?" in answer.stderr


def test_a_cluster_that_was_stopped_is_none():
    with Cluster(["name=a"]) as cluster:
        assert cluster.stop() == DONE
        answer = cluster.pa(*SAMPLE)
    assert answer.returncode == UNAVAILABLE
    assert str(cluster.state) in answer.stderr


def test_the_environment_names_the_cluster():
    with Cluster(["name=a"]) as cluster:
        answer = pa("devices", env={"PA_STATE": str(cluster.state)})
    assert answer.returncode == DONE, answer.stderr
    assert "a" in answer.stdout.splitlines()[1].split()
