"""Running samples whose worker is killed go on from where they were saved, to the same bits."""

import contextlib
import signal

import numpy as np

from cluster import DONE, MODELS, Cluster, Daemon, Run, metrics, pa, short_folder, wait_for

COUNT = 4
REQUEST = ["--model", "digits", "--labels", "0-9", "--count", COUNT, "--seed", 5, "--steps", 150,
           "--sampler", "dpmpp_2m_sde", "--set", "deterministic=true"]


def value(daemon, name):
    return sum(value for series, value in metrics(daemon.url("metrics")).items() if series.partition("{")[0] == name)


def worker(folder, name):
    (folder / name).mkdir()
    return Daemon(
        "pa-worker", folder / name, f"connect.run_dir={folder}/run", f"name={name}", f"models={MODELS}", "threads=1",
        "sim=20ms+20ms",
    )


def test_killed_workers_samples_go_on_from_their_checkpoints():
    with Cluster(1) as cluster:
        expected = cluster.start(*REQUEST).result().values
    with short_folder() as folder, contextlib.ExitStack() as exits:
        coordinator = exits.enter_context(Daemon(
            "pa-coordinator", folder, f"run_dir={folder}/run", "journal.folder=''", "checkpoints.interval=500ms",
        ))
        workers = {name: exits.enter_context(worker(folder, name)) for name in ("a", "b")}
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
        assert max(result.attempts()) == 2
        saved = value(coordinator, "pa_checkpoint_saved_steps_total")
        again = value(coordinator, "pa_repeated_steps_total")
        assert saved > 0 and again < saved, (saved, again)
        assert f'"saved_steps":{int(saved)}' in coordinator.log.read_text().replace('"saved_steps":"', '"saved_steps":')
        assert value(coordinator, "pa_checkpoint_bytes") == 0
