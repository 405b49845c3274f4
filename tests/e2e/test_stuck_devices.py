"""A device that gets stuck in a pass holds nobody up: another runs what it had."""

import contextlib

import numpy as np
import pytest

from cluster import DONE, HANG, MODELS, Cluster, Daemon, Result, metrics, pa, short_folder, wait_for

COUNT = 8
STUCK_AT = 60  # Its pass of that number never ends.
TOLERANCE = 1e-5
BOTH_LIVE = "2 of 2 workers live"


@pytest.fixture(scope="module")
def expected():
    with Cluster(1) as cluster:
        return cluster.digits(COUNT).values


@pytest.fixture
def box():
    """A coordinator that gives passes an hour, a worker that gets stuck and one that does not."""
    with short_folder() as folder, contextlib.ExitStack() as stack:
        coordinator = stack.enter_context(Daemon(
            "pa-coordinator", folder, f"run_dir={folder}/run", f"journal.folder={folder}/journal",
            "heartbeat.lease=1h", "heartbeat.first_lease=1h",
        ))
        for name, failpoints in (("stuck", f"device.pass=hang@{STUCK_AT}"), ("other", None)):
            (folder / name).mkdir()
            stack.enter_context(Daemon(
                "pa-worker", folder / name, f"connect.run_dir={folder}/run", f"name={name}", f"models={MODELS}",
                "threads=1", "sim=10ms+5ms", failpoints=failpoints,
            ))
        endpoint = f"ipc://{folder}/run/client.sock"
        wait_for("workers", lambda: BOTH_LIVE in pa("status", "--connect", endpoint).stdout)
        yield endpoint, coordinator


def test_another_runs_what_it_had(box, expected, tmp_path):
    endpoint, coordinator = box

    def hedged():
        return metrics(coordinator.url("metrics")).get('pa_device_hedged_items_total{device="stuck"}', 0)

    for attempt in range(40):
        out = tmp_path / f"{attempt}.safetensors"
        answer = pa("sample", "--connect", endpoint, "--model", "digits", "--labels", "0-9", "--count", COUNT, "--seed", 1,
                    "--out", out, limit=HANG)
        assert answer.returncode == DONE, answer.stderr
        assert np.abs(Result(out).values - expected).max() <= TOLERANCE
        if hedged():
            break
    assert hedged() >= 1
    assert BOTH_LIVE in pa("status", "--connect", endpoint).stdout
    # It is left alone from now on.
    again = pa("sample", "--connect", endpoint, "--model", "digits", "--labels", "0-9", "--count", COUNT, "--seed", 1,
               "--out", tmp_path / "again.safetensors", limit=HANG)
    assert again.returncode == DONE, again.stderr
    assert {row["worker"] for row in Result(tmp_path / "again.safetensors").report["samples"]} == {"other"}
