"""A sample that workers die of fails after a few of them; the rest of its request, and others, are delivered."""

import contextlib
import threading

import numpy as np
import pytest

from cluster import DONE, HANG, MODELS, SOME_FAILED, Cluster, Daemon, Result, metrics, pa, short_folder, wait_for

COUNT = 8
DEADLY = 5
TOLERANCE = 1e-5
DEATHS = {"kill": f"sample.{DEADLY}=kill", "hang": f"sample.{DEADLY}=hang"}


@pytest.fixture(scope="module")
def expected():
    with Cluster(1) as cluster:
        return cluster.digits(COUNT).values


class Supervised(threading.Thread):
    """A worker that is started again whenever it ends, as systemd does."""

    def __init__(self, start):
        super().__init__(daemon=True)
        self.start_one, self.leaving, self.codes = start, threading.Event(), []
        self.one = start()
        self.start()

    def run(self):
        while not self.leaving.is_set():
            code = self.one.process.wait()
            self.codes.append(code)
            if not self.leaving.wait(0.2):
                self.one = self.start_one()

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.leaving.set()
        self.one.__exit__()
        self.join(HANG)
        self.one.__exit__()


@contextlib.contextmanager
def box(failpoints, workers=2):
    """A coordinator with short leases, and workers with failpoints; their endpoint, coordinator and supervisors."""
    with short_folder() as folder, contextlib.ExitStack() as stack:
        coordinator = stack.enter_context(Daemon(
            "pa-coordinator", folder, f"run_dir={folder}/run", f"journal.folder={folder}/journal",
            "heartbeat.lease=1s", "heartbeat.first_lease=2s",
        ))
        supervisors = []
        for index in range(workers):
            home = folder / f"w{index}"
            home.mkdir()
            supervisors.append(stack.enter_context(Supervised(lambda home=home: Daemon(
                "pa-worker", home, f"connect.run_dir={folder}/run", f"name={home.name}", f"models={MODELS}",
                "threads=1", failpoints=failpoints,
            ))))
        endpoint = f"ipc://{folder}/run/client.sock"
        answer = pa("status", "--connect", endpoint, "--wait", HANG, limit=HANG)
        assert answer.returncode == DONE, answer.stderr
        yield endpoint, coordinator, supervisors


def sample(endpoint, out, count):
    return pa("sample", "--connect", endpoint, "--model", "digits", "--labels", "0-9", "--count", count, "--seed", 1,
              "--out", out)


@pytest.mark.parametrize("death", DEATHS)
def test_the_rest_is_delivered(death, expected, tmp_path):
    with box(DEATHS[death]) as (endpoint, coordinator, supervisors):
        answer = sample(endpoint, tmp_path / "out.safetensors", COUNT)
        assert answer.returncode == SOME_FAILED, answer.stderr
        assert f"sample {DEADLY} is given up: workers were lost with it 3 times" in answer.stderr
        result = Result(tmp_path / "out.safetensors")
        rest = [index for index in range(COUNT) if index != DEADLY]
        assert ["error" in row for row in result.report["samples"]] == [index == DEADLY for index in range(COUNT)]
        assert np.abs(result.values[rest] - expected[rest]).max() <= TOLERANCE
        wait_for("three deaths", lambda: sum(len(each.codes) for each in supervisors) == 3)
        assert metrics(coordinator.url("metrics"))["pa_samples_given_up_total"] == 1

        # Both are there again, and do what has no such sample.
        again = sample(endpoint, tmp_path / "again.safetensors", DEADLY)
        assert again.returncode == DONE, again.stderr
        assert np.abs(Result(tmp_path / "again.safetensors").values - expected[:DEADLY]).max() <= TOLERANCE


def test_a_broken_device_is_started_anew(expected, tmp_path):
    """From its third pass on the first process' device answers nothing but errors."""
    with box("device.error=eio@3", workers=1) as (endpoint, _, (supervisor,)):
        # Every process breaks at its third pass, so that the samples move on from checkpoint to checkpoint only.
        answer = sample(endpoint, tmp_path / "out.safetensors", COUNT)
        assert answer.returncode != DONE
        assert "its device broke" in answer.stderr
        assert set(supervisor.codes) == {1}
