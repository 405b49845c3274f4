"""Running samples whose worker is killed go on from where they were saved, to the same bits."""

import contextlib
import signal

import numpy as np
import pytest

from cluster import DONE, MODELS, Cluster, Daemon, Run, metrics, pa, short_folder, wait_for

COUNT = 4
REQUEST = ["--model", "digits", "--labels", "0-9", "--count", COUNT, "--seed", 5, "--steps", 150,
           "--sampler", "dpmpp_2m_sde", "--set", "deterministic=true"]


def value(daemon, name):
    return sum(value for series, value in metrics(daemon.url("metrics")).items() if series.partition("{")[0] == name)


@pytest.fixture(scope="module")
def expected():
    with Cluster(1) as cluster:
        return cluster.start(*REQUEST).result().values


def worker(folder, name, failpoints=None):
    (folder / name).mkdir()
    return Daemon(
        "pa-worker", folder / name, f"connect.run_dir={folder}/run", f"name={name}", f"models={MODELS}", "threads=1",
        "sim=20ms+20ms", failpoints=failpoints,
    )


@pytest.mark.parametrize("readable", [True, False])
def test_killed_workers_samples_go_on_from_their_checkpoints(expected, readable):
    """Or from their beginning, if the worker that gets them cannot read any checkpoint."""
    with short_folder() as folder, contextlib.ExitStack() as exits:
        coordinator = exits.enter_context(Daemon(
            "pa-coordinator", folder, f"run_dir={folder}/run", "journal.folder=''", "checkpoints.interval=500ms",
        ))
        faults = {"a": None, "b": None if readable else "checkpoint.read=eio"}
        workers = {name: exits.enter_context(worker(folder, name, faults[name])) for name in faults}
        connect = ["--connect", f"ipc://{folder}/run/client.sock"]
        for each in workers.values():
            wait_for("ready workers", each.is_ready)
        assert pa("status", "--wait", 10, *connect).returncode == DONE
        out = folder / "out.safetensors"
        run = Run(["sample", *connect, "--out", out, *REQUEST], out, 60)
        exits.callback(run.kill)
        wait_for("two rounds of checkpoints", lambda: value(coordinator, "pa_checkpoints_total") >= 2 * COUNT)
        assert value(coordinator, "pa_checkpoint_bytes") > 0
        workers["a"].process.send_signal(signal.SIGKILL)
        result = run.result()
        assert np.array_equal(result.values, expected)
        if not readable:
            assert "could not read a checkpoint" in coordinator.log.read_text()
            return
        assert max(result.attempts()) == 2
        saved = value(coordinator, "pa_checkpoint_saved_steps_total")
        again = value(coordinator, "pa_repeated_steps_total")
        assert saved > 0 and again < saved, (saved, again)
        assert f'"saved_steps":{int(saved)}' in coordinator.log.read_text().replace('"saved_steps":"', '"saved_steps":')
        assert value(coordinator, "pa_checkpoint_bytes") == 0
