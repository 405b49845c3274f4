"""On one box bytes go through shared memory; without it, or with a peer that fails, through sockets or not at all."""

import json
import os
import pathlib
import signal
import subprocess
import time

import numpy as np
import pytest

import tensors
from cluster import BIN, DONE, HANG, Cluster, environment, pa, short_folder, wait_for

SHAPE = (21, 2, 512, 256)  # 1 MiB a sample.


@pytest.fixture(name="models")
def make_models(tmp_path):
    (tmp_path / "models" / "noop").mkdir(parents=True)
    (tmp_path / "models" / "noop" / "model.yaml").write_text("family: noop\n")
    return tmp_path / "models"


@pytest.fixture(name="x")
def make_x():
    return np.random.default_rng(1).random(SHAPE, np.float32)


def forward_request(folder, x):
    return tensors.write_request(folder / "request", {"op": "forward", "model": "noop", "samples": len(x)}, x=x)


def findings(cluster):
    """What `pa doctor` says, by subject."""
    answer = cluster.pa("doctor", "--json")
    assert answer.returncode == DONE, answer.stdout + answer.stderr
    return {finding["what"]: finding for finding in json.loads(answer.stdout)}


def bytes_through_sockets(cluster):
    """Tensors that the coordinator received or sent."""
    return sum(value for series, value in cluster.metrics("coordinator").items()
               if series.startswith("pa_stream_bytes_total"))


def test_no_byte_goes_through_a_socket(models, tmp_path, x):
    with Cluster(2, models=models) as cluster:
        assert findings(cluster)["shared memory"]["verdict"] == "good"
        result = cluster.run("--request", forward_request(tmp_path, x), command="forward")
        np.testing.assert_array_equal(result.values, x)
        assert sorted(result.shares().values()) == [10, 11]
        assert bytes_through_sockets(cluster) == 0


def test_a_worker_that_dies_with_the_memory_in_hand_is_replaced(models, tmp_path, x):
    with Cluster(["name=a,sim=300ms+50ms", "name=b,sim=300ms+50ms"], models=models) as cluster:
        run = cluster.start("--request", forward_request(tmp_path, x), command="forward")
        wait_for("a has samples", lambda: cluster.workers()["a"]["assigned"] > 0)
        cluster.signal("a", signal.SIGKILL)
        np.testing.assert_array_equal(run.result().values, x)


def test_a_worker_that_stops_and_goes_on_spoils_nothing(models, tmp_path, x):
    with Cluster(["name=a,sim=300ms+50ms", "name=b,sim=300ms+50ms"], models=models) as cluster:
        run = cluster.start("--request", forward_request(tmp_path, x), command="forward")
        wait_for("a has samples", lambda: cluster.workers()["a"]["assigned"] > 0)
        cluster.signal("a", signal.SIGSTOP)
        first = run.result().values
        cluster.signal("a", signal.SIGCONT)
        again = cluster.run("--request", tmp_path / "request", command="forward").values
        np.testing.assert_array_equal(first, x)
        np.testing.assert_array_equal(again, x)


def test_memory_that_serves_again_carries_no_batch_into_another():
    """One client, batch after batch, each unlike all others, whose results are written to the same memory in turn."""
    command = [BIN / "pa", "bench", "--local", "--path", "shared", "--model", "noop", "--batch", "8",
               "--sample-bytes", str(1 << 17), "--batches", "3000"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
                          env=environment()) as bench:
        lines = (json.loads(line) for line in bench.stdout)
        victim = next(lines)["pids"][1]
        measured = []
        for line in lines:
            assert "error" not in line, line
            measured.append(line["seconds"])
            if len(measured) % 700 == 0:  # In the middle of whatever it does; for long enough to be given up once.
                os.kill(victim, signal.SIGSTOP)
                time.sleep(4 if len(measured) == 700 else 0.3)
                os.kill(victim, signal.SIGCONT)
        assert bench.wait(HANG) == DONE
    assert len(measured) == 3000


def test_a_client_that_dies_costs_only_its_own_request(models, tmp_path, x):
    with Cluster(["name=a,sim=300ms+50ms", "name=b,sim=300ms+50ms"], models=models) as cluster:
        run = cluster.start("--request", forward_request(tmp_path, x), command="forward")
        wait_for("a has samples", lambda: cluster.workers()["a"]["assigned"] > 0)
        run.kill()
        result = cluster.run("--request", tmp_path / "request", command="forward")
        np.testing.assert_array_equal(result.values, x)
        wait_for("nothing is left", cluster.idle)


def test_a_client_that_stops_blocks_nobody(models, tmp_path, x):
    with Cluster(2, models=models) as cluster:
        run = cluster.start("--request", forward_request(tmp_path, x), command="forward")
        os.kill(run.process.pid, signal.SIGSTOP)
        try:
            for _ in range(3):
                result = cluster.run("--request", tmp_path / "request", command="forward")
                np.testing.assert_array_equal(result.values, x)
        finally:
            os.kill(run.process.pid, signal.SIGCONT)
        np.testing.assert_array_equal(run.result().values, x)


def test_without_shared_memory_bytes_go_through_sockets(models, tmp_path, x):
    """A coordinator that shares none, and a worker and a client that find out."""
    with short_folder() as folder:
        common = ["--set", "http.port=0"]
        logs = [(folder / name).open("w") for name in ("coordinator.log", "worker.log")]
        coordinator = subprocess.Popen(
            [BIN / "pa-coordinator", "--set", f"run_dir={folder}/run", "--set", "share_memory=false", *common],
            stderr=logs[0], env=environment())
        worker = subprocess.Popen(
            [BIN / "pa-worker", "--set", f"connect.run_dir={folder}/run", "--set", f"models={models}", "--set",
             "name=a", *common], stderr=logs[1], env=environment())
        try:
            endpoint = f"ipc://{folder}/run/client.sock"
            wait_for("the worker is live",
                     lambda: '"live"' in pa("status", "--json", "--connect", endpoint).stdout)
            doctor = pa("doctor", "--connect", endpoint)
            assert doctor.returncode == DONE and "the coordinator shares none" in doctor.stdout, doctor.stdout
            answer = pa("forward", "--connect", endpoint, "--request", forward_request(tmp_path, x), "--out",
                        folder / "out")
            assert answer.returncode == DONE, answer.stderr
            (values,) = tensors.File(folder / "out").tensors.values()
            np.testing.assert_array_equal(values, x)
        finally:
            for process in (worker, coordinator):
                process.terminate()
                process.wait(HANG)
            for log in logs:
                log.close()
    assert not pathlib.Path(folder).exists()
