"""A prompt's conditioning is sent over a link once: not with every shard, nor with the next request of the prompt."""

import contextlib
import json

import numpy as np

import tensors
from cluster import DONE, HANG, MODELS, Daemon, Run, metrics, pa, short_folder, wait_for

SAMPLES, TOKENS = 6, 1024  # 128 KiB of text, as little as is worth keeping.


def request(path, seed):
    context = np.random.default_rng(seed).standard_normal((1, TOKENS, 32), dtype=np.float32)
    pooled = np.zeros((1, 32), dtype=np.float32)
    body = {"op": "sample", "model": "digits", "samples": SAMPLES, "seed": 3, "positive": [{"tensors": "cond.0"}],
            "schedule": {"name": "simple", "steps": 2}, "deterministic": True}
    return tensors.write(path, {"cond.0.context": context, "cond.0.y": pooled}, {"request": json.dumps(body)})


@contextlib.contextmanager
def daemons(*settings):
    """A coordinator that sends, and a worker that gets a sample at a time; a function that runs a request."""
    with short_folder() as folder, contextlib.ExitStack() as exits:
        coordinator = exits.enter_context(Daemon(
            "pa-coordinator", folder, f"run_dir={folder}/run", "journal.folder=''", "share_memory=false"))
        worker = exits.enter_context(Daemon(
            "pa-worker", folder, f"connect.run_dir={folder}/run", "name=a", f"models={MODELS}", "threads=1",
            "limits.max_rows=1", "limits.credit_samples=1", *settings))
        wait_for("a ready worker", worker.is_ready)
        connect = ["--connect", f"ipc://{folder}/run/client.sock"]
        assert pa("status", "--wait", 10, *connect).returncode == DONE

        def run(seed):
            path, out = request(folder / "request", seed), folder / "out"
            return Run(["sample", *connect, "--request", path, "--out", out], out, HANG).result().values

        yield run, coordinator, worker


def looked_up(daemon):
    """Hits and misses so far."""
    values = metrics(daemon.url("metrics"))
    return tuple(int(values[f'pa_blob_lookups_total{{result="{result}"}}']) for result in ("hit", "miss"))


def test_conditioning_is_sent_once():
    with daemons() as (run, coordinator, worker):
        values = run(1)
        hits, misses = looked_up(worker)
        assert misses == 1 and hits >= 1, (hits, misses)
        sent = f'pa_stream_bytes_total{{direction="sent"}}'
        before = metrics(coordinator.url("metrics"))[sent]
        assert np.array_equal(run(1), values)
        assert looked_up(worker)[1] == 1 and looked_up(coordinator) == (1, 1)
        assert metrics(coordinator.url("metrics"))[sent] - before < TOKENS * 32 * 4
        other = run(2)
        assert looked_up(worker)[1] == 2, "another prompt is another"
        assert not np.array_equal(other, values)
    with daemons("limits.blob_bytes=0B") as (run, _, worker):
        assert np.array_equal(run(1), values)
        assert looked_up(worker) == (0, 0)
