#!/usr/bin/env python3
"""What the coordinator's CPU does for workers that report progress: 64 of them, each in a pass of 50 ms after the other.

Processor time of the coordinator, idle (heartbeats only) and while every worker runs a long sample.
"""

import argparse
import os
import pathlib
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).parents[1] / "e2e"))

from cluster import Daemon, Run, pa, short_folder, wait_for  # noqa: E402

SIM = "50ms"


def processor_seconds(pid):
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def part_of_a_core(pid, seconds):
    before, start = processor_seconds(pid), time.monotonic()
    time.sleep(seconds)
    return (processor_seconds(pid) - before) / (time.monotonic() - start)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--workers", type=int, default=64)
    parser.add_argument("--seconds", type=float, default=20)
    options = parser.parse_args()
    with short_folder() as folder:
        (folder / "models" / "noop").mkdir(parents=True)
        (folder / "models" / "noop" / "model.yaml").write_text("family: noop\n")
        workers = []
        with Daemon("pa-coordinator", folder, f"run_dir={folder}/run", "journal.folder=''") as coordinator:
            try:
                for index in range(options.workers):
                    home = folder / f"w{index}"
                    home.mkdir()
                    workers.append(Daemon("pa-worker", home, f"name=w{index}", "threads=1", f"sim={SIM}+0ms",
                                          f"models={folder}/models", f"connect.run_dir={folder}/run"))
                    time.sleep(0.2)
                connect = ["--connect", f"ipc://{folder}/run/client.sock"]
                wait_for("workers", lambda: pa("status", *connect).stdout.count("live") >= options.workers, 300)
                time.sleep(3)
                pid = coordinator.process.pid
                idle = part_of_a_core(pid, options.seconds)
                out = folder / "out.safetensors"
                run = Run(["sample", *connect, "--model", "noop", "--set", "latent_shape=[4,8,8]", "--count",
                           options.workers, "--steps", 1000, "--sampler", "euler", "--out", out], out, 600)
                time.sleep(5)
                assert run.process.poll() is None, run.said()
                busy = part_of_a_core(pid, options.seconds)
                run.kill()
                print(f"{options.workers} workers: {100 * idle:.2f} % of a core idle, {100 * busy:.2f} % while "
                      "they run")
            finally:
                for worker in workers:
                    worker.__exit__()
    return 0


if __name__ == "__main__":
    sys.exit(main())
