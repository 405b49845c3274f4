"""What was accepted survives the coordinator, wherever it dies, and a disk that fails is told of."""

import json
import signal

import numpy as np
import pytest

import tensors
from cluster import DONE, HANG, MODELS, UNAVAILABLE, Cluster, Daemon, Run, get, metrics, pa, short_folder, wait_for

COUNT = 6
CRASHES = [f"{point}=kill@{time}" for point, times in {
    "journal.write": 4,  # The input's file, then rows of results.
    "journal.sync": 3,
    "journal.commit": 4,
    "journal.committed": 4,
}.items() for time in range(1, times + 1)]


class Box:
    """A coordinator with a journal, and a worker with the digits. A context manager."""

    def __init__(self, folder):
        self.folder, self.runs = folder, 0
        self.worker = Daemon(
            "pa-worker", folder, f"connect.run_dir={folder}/run", "name=a", f"models={MODELS}",
            "limits.credit_samples=2", "limits.max_rows=1", "threads=1",
        )

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.worker.__exit__()

    def coordinator(self, failpoints=None):
        return Daemon(
            "pa-coordinator", self.folder, f"run_dir={self.folder}/run", f"journal.folder={self.folder}/journal",
            failpoints=failpoints,
        )

    def is_live(self):
        """Whether there is a coordinator with a live worker."""
        return self.pa("status", "--wait", 1).returncode == DONE

    def pa(self, command, *arguments):
        return pa(command, "--connect", f"ipc://{self.folder}/run/client.sock", *arguments)

    def start(self):
        """Begins to run a request with a tensor, so that the journal has an input to keep."""
        self.runs += 1
        request, out = (self.folder / f"{what}-{self.runs}.safetensors" for what in ("request", "result"))
        body = {
            "op": "sample", "model": "digits", "samples": COUNT, "labels": [str(i) for i in range(COUNT)],
            "schedule": {"name": "simple", "steps": 4}, "noise": "given", "deterministic": True,
        }
        noise = np.random.default_rng(3).standard_normal((COUNT, 1, 8, 8), dtype=np.float32)
        tensors.write(request, {"noise": noise}, {"request": json.dumps(body)})
        endpoint = f"ipc://{self.folder}/run/client.sock"
        return Run(["sample", "--connect", endpoint, "--request", request, "--out", out], out, HANG)


@pytest.mark.parametrize("crash", CRASHES)
def test_no_crash_point_loses_or_changes_a_batch(crash, calm):
    with short_folder() as folder, Box(folder) as box:
        run = None
        with box.coordinator(failpoints=crash) as doomed:
            wait_for("a start, or a crash", lambda: box.is_live() or doomed.process.poll() is not None)
            if doomed.process.poll() is None:
                run = box.start()
                wait_for("an end, or a crash", lambda: doomed.process.poll() or run.process.poll() is not None)
        with box.coordinator():
            if run is None:
                wait_for("a live worker", box.is_live)
                run = box.start()
            assert np.array_equal(run.result().values, calm)
            assert len(run.result().report["samples"]) == COUNT
            wait_for("an empty journal", lambda: not list((folder / "journal" / "spool").iterdir()))


@pytest.fixture(scope="module")
def calm():
    """What the batch is when nothing goes wrong."""
    with short_folder() as folder, Box(folder) as box, box.coordinator():
        wait_for("a live worker", box.is_live)
        return box.start().result().values


def test_finished_samples_are_not_made_again():
    with Cluster(["name=a,sim=100ms+200ms"]) as cluster:
        run = cluster.start("--model", "digits", "--labels", "0-9", "--count", 40, "--steps", 2)
        wait_for("finished samples", lambda: cluster.workers()["a"]["samples_done"] > 3)
        done = cluster.workers()["a"]["samples_done"]
        cluster.signal("coordinator", signal.SIGKILL)
        assert run.result().values.shape[0] == 40
        again = cluster.workers()["a"]["samples_done"]  # Counted by the coordinator, anew.
        assert again <= 40 - done


def test_a_result_waits_for_its_client_over_a_restart():
    with Cluster(["name=a,sim=30ms+10ms"]) as cluster:
        run = cluster.start_digits(4)
        request = wait_for("the request", lambda: cluster.status()["requests"])[0]["id"]
        run.kill()
        wait_for("its end", lambda: all(r["state"] == "done" for r in cluster.status()["requests"]))
        cluster.signal("coordinator", signal.SIGKILL)
        wait_for("the next coordinator", lambda: cluster.pa("status").returncode == DONE)
        (kept,) = cluster.status()["requests"]
        assert (kept["id"], kept["state"], kept["done"]) == (request, "done", 4)


def test_a_full_disk_refuses_requests():
    # The first commit counts this life, the second would be the request's.
    with short_folder() as folder, Box(folder) as box, box.coordinator("journal.commit=enospc@2") as coordinator:
        wait_for("a live worker", box.is_live)
        code, _, err = box.start().end()
        assert code == UNAVAILABLE
        assert "could not be made safe" in err
        assert "full" in err
        assert metrics(coordinator.url("metrics"))["pa_journal_failures_total"] > 0
        assert get(coordinator.url("healthz"))[0] == 200


def test_status_tells_where_the_journal_is():
    with Cluster(1) as cluster:
        assert cluster.status()["journal"] == f"disk: {cluster.state}/journal"
