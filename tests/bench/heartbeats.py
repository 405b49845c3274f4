#!/usr/bin/env python3
"""How long the coordinator takes to answer a heartbeat while bulk is under way.

Eight clients send 64 MiB each, batch after batch, to two no-op workers on this box, by every path in turn; workers beat
every 10 ms and time the answers. Prints the share of answers below each bound, idle and loaded.

--first (root): coordinator and workers go before all other processes, so that none of them waits for a core that a
client has. What is left is what they wait for one another and for their own loops.
"""

import argparse
import os
import pathlib
import re
import sys
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).parents[1] / "e2e"))

import numpy as np  # noqa: E402

import tensors  # noqa: E402
from cluster import DONE, Daemon, metrics, pa, short_folder, wait_for  # noqa: E402

CLIENTS, SAMPLES, MIB = 8, 8, 64
NAME = "pa_heartbeat_round_trip_seconds"
QUANTILES = (0.5, 0.9, 0.99, 0.999)


def buckets(workers):
    """Answers at most so many seconds late, over all workers: cumulative."""
    total = {}
    for worker in workers:
        for series, value in metrics(worker.url("metrics")).items():
            bound = re.match(NAME + r'_bucket\{.*le="([^"]+)"', series)
            if bound:
                total[float(bound[1])] = total.get(float(bound[1]), 0) + value
    return total


def quantiles(before, after):
    """Upper bounds of the quantiles, in ms."""
    counts = {bound: after[bound] - before[bound] for bound in sorted(after)}
    total = counts[float("inf")]
    bounds = [next(bound for bound in counts if counts[bound] >= quantile * total) for quantile in QUANTILES]
    return total, [bound * 1e3 for bound in bounds]


def put_first(daemon):
    for thread in os.listdir(f"/proc/{daemon.process.pid}/task"):
        os.sched_setscheduler(int(thread), os.SCHED_RR, os.sched_param(1))


def measure(share_memory, seconds, first):
    with short_folder() as folder:
        (folder / "models" / "noop").mkdir(parents=True)
        (folder / "models" / "noop" / "model.yaml").write_text("family: noop\n")
        x = np.ones((SAMPLES, MIB * (1 << 18) // SAMPLES), np.float32)
        request = tensors.write_request(folder / "request", {"op": "forward", "model": "noop", "samples": SAMPLES}, x=x)
        share = f"share_memory={'true' if share_memory else 'false'}"
        with Daemon("pa-coordinator", folder, f"run_dir={folder}/run", "journal.folder=''", share,
                    "heartbeat.interval=10ms") as coordinator:
            workers = []
            try:
                for name in ("a", "b"):
                    (folder / name).mkdir()
                    workers.append(Daemon("pa-worker", folder / name, f"name={name}", "threads=1",
                                          f"models={folder}/models", f"connect.run_dir={folder}/run"))
                connect = ["--connect", f"ipc://{folder}/run/client.sock"]
                wait_for("workers", lambda: pa("status", *connect).stdout.count("live") >= 2)
                if first:
                    for daemon in (coordinator, *workers):
                        put_first(daemon)
                time.sleep(1)
                results = {}
                before = buckets(workers)
                time.sleep(seconds)
                after = buckets(workers)
                results["idle"] = (*quantiles(before, after), 0)
                ending, batches = threading.Event(), []

                def client(index):
                    while not ending.is_set():
                        done = pa("forward", *connect, "--request", request, "--out", f"{folder}/{index}.safetensors")
                        assert done.returncode == DONE, done.stderr
                        batches.append(index)

                threads = [threading.Thread(target=client, args=(index,)) for index in range(CLIENTS)]
                for thread in threads:
                    thread.start()
                time.sleep(1)
                before, begun = buckets(workers), len(batches)
                time.sleep(seconds)
                after = buckets(workers)
                results["loaded"] = (*quantiles(before, after), len(batches) - begun)
                ending.set()
                for thread in threads:
                    thread.join()
                return results
            finally:
                for worker in workers:
                    worker.__exit__()


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--first", action="store_true")
    options = parser.parse_args()
    print("| path | | beats | batches | " + " | ".join(f"p{q * 100:g} ms, at most" for q in QUANTILES) + " |")
    print("|---" * (4 + len(QUANTILES)) + "|")
    for path, share in (("shared memory", True), ("sockets", False)):
        for state, (beats, bounds, batches) in measure(share, options.seconds, options.first).items():
            print(f"| {path} | {state} | {beats:.0f} | {batches} | " + " | ".join(f"{b:g}" for b in bounds) + " |")


if __name__ == "__main__":
    main()
