#!/usr/bin/env python3
"""Simulations of faults for a long time: seeds 1 to 100,000, some at a time, going on where an earlier run ended.

    tests/sim/long.py [--seeds 1..100000] [--state FILE] [--jobs N]

Ends at the first seed that fails, with how to run it again.
"""

import argparse
import concurrent.futures
import os
import pathlib
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).parents[2]
AT_A_TIME = 20


def run(program, first, last):
    """Seeds first to last; None if all is well, or what was said."""
    environment = {**os.environ, "PA_SIM_SEEDS": f"{first}..{last}"}
    done = subprocess.run([program, "--gtest_filter=*Faults*", "--gtest_brief=1"], env=environment, text=True,
                          capture_output=True, check=False)
    return None if done.returncode == 0 else done.stdout + done.stderr


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", default="1..100000")
    parser.add_argument("--state", type=pathlib.Path, default=ROOT / "build" / "release" / "sim-seeds-done")
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    parser.add_argument("--minutes", type=float, help="end after so long, at the latest")
    options = parser.parse_args()
    program = ROOT / "build" / "release" / "tests" / "cluster_sim_test"
    first, last = (int(seed) for seed in options.seeds.split(".."))
    if options.state.exists():
        first = max(first, int(options.state.read_text()) + 1)
    end = time.monotonic() + 60 * options.minutes if options.minutes else float("inf")
    start = first
    with concurrent.futures.ThreadPoolExecutor(options.jobs) as pool:
        while first <= last and time.monotonic() < end:
            chunks = []
            while first <= last and len(chunks) < options.jobs:
                chunks.append((first, min(first + AT_A_TIME - 1, last)))
                first = chunks[-1][1] + 1
            for chunk, said in zip(chunks, pool.map(lambda chunk: run(program, *chunk), chunks)):
                if said is not None:
                    print(said)
                    print(f"failed: PA_SIM_SEEDS={chunk[0]}..{chunk[1]} {program} --gtest_filter='*Faults*'")
                    return 1
            options.state.write_text(str(first - 1))
            print(f"\rseeds {start} to {first - 1} are right", end="", flush=True)
    print()
    return 0


if __name__ == "__main__":
    sys.exit(main())
