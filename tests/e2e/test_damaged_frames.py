"""Bytes that are damaged on their way give an error, or are made up for: never a wrong picture."""

import contextlib

import numpy as np
import pytest

from cluster import DONE, MODELS, Cluster, Daemon, Run, pa, short_folder, wait_for

COUNT = 8
REQUEST = ["--model", "digits", "--labels", "0-9", "--count", COUNT, "--seed", 5, "--set", "deterministic=true"]


@pytest.fixture(scope="module")
def expected():
    with Cluster(1) as cluster:
        return cluster.start(*REQUEST).result().values


@contextlib.contextmanager
def cluster(failpoints):
    """A coordinator that sees frames come in damaged, and a worker; gives a function that starts a run."""
    with short_folder() as folder, contextlib.ExitStack() as exits:
        exits.enter_context(Daemon(
            "pa-coordinator", folder, f"run_dir={folder}/run", "journal.folder=''", "share_memory=false",
            failpoints=failpoints,
        ))
        worker = exits.enter_context(Daemon(
            "pa-worker", folder, f"connect.run_dir={folder}/run", "name=a", f"models={MODELS}", "threads=1",
            "limits.max_rows=1",
        ))
        wait_for("a ready worker", worker.is_ready)
        connect = ["--connect", f"ipc://{folder}/run/client.sock"]
        assert pa("status", "--wait", 10, *connect).returncode == DONE

        def start():
            out = folder / "out.safetensors"
            run = Run(["sample", *connect, "--out", out, *REQUEST], out, 60)
            exits.callback(run.kill)
            return run

        yield start


def test_a_damaged_row_is_not_delivered(expected):
    with cluster("frame.payload=flip@3") as start:
        code, _, err = start().end()
        assert code != DONE
        assert "made by a, was damaged on its way" in err
        assert np.array_equal(start().result().values, expected)


@pytest.mark.parametrize("frame", [3, 8, 15, 25, 40])
def test_a_damaged_header_costs_time_at_most(frame, expected):
    with cluster(f"frame.header=flip@{frame}") as start:
        run = start()
        code, _, err = run.end()
        if code == DONE:
            assert np.array_equal(run.result().values, expected)
        else:
            assert err.strip()
        assert np.array_equal(start().result().values, expected)
