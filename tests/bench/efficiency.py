#!/usr/bin/env python3
"""How near real processes come to the least time that any schedule needs, on devices that are played.

Every cluster is a `pa up` of CPU workers that sleep until a pass of n rows has taken what it would on their device.
After a request to learn from, batches of N samples of 20 steps; efficiency is the bound over the measured time. The
bound is N * steps over the most rows a second that N rows allow.

    PA_BIN_DIR=build/release/bin python3 tests/bench/efficiency.py [--rounds 5]
"""

import argparse
import pathlib
import statistics
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).parents[1] / "e2e"))

from cluster import Cluster  # noqa: E402

STEPS, MOST_ROWS = 20, 8
# Milliseconds of a pass, and of a row in it.
CLUSTERS = {
    "two": [(5, 10), (5, 25)],
    "four, 40/40/15/5": [(5, 10), (5, 10), (5, 26), (5, 80)],
}
BATCHES = (1, 2, 5, 8, 21, 40)


def seconds(device, rows):
    return (device[0] + device[1] * rows) / 1e3


def bound(devices, samples):
    """Rows go one by one to where they add most to the rows a second."""
    rows = [0] * len(devices)
    rate = lambda index, count: count / seconds(devices[index], count) if count else 0.0  # noqa: E731
    gain = lambda index: rate(index, rows[index] + 1) - rate(index, rows[index])  # noqa: E731
    for _ in range(samples):
        free = [index for index in range(len(devices)) if rows[index] < MOST_ROWS]
        if not free or max(map(gain, free)) <= 0:
            break
        rows[max(free, key=gain)] += 1
    return samples * STEPS / sum(rate(index, count) for index, count in enumerate(rows))


def best_alone(devices, samples):
    """The fastest device by itself, in full batches and the rest."""
    whole, rest = divmod(samples, MOST_ROWS)
    return min(STEPS * (whole * seconds(device, MOST_ROWS) + (seconds(device, rest) if rest else 0))
               for device in devices)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    print("| devices | samples | bound, s | median, s | efficiency | of the best device alone |")
    print("|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        models = pathlib.Path(folder)
        (models / "noop").mkdir()
        (models / "noop" / "model.yaml").write_text("family: noop\n")
        for name, devices in CLUSTERS.items():
            workers = [f"name=w{index},device=cpu,sim={fixed}ms+{row}ms" for index, (fixed, row) in enumerate(devices)]
            with Cluster(workers, models=models) as cluster:
                run = lambda samples: cluster.run(  # noqa: E731
                    "--model", "noop", "--count", samples, "--steps", STEPS, "--set", "latent_shape=[4,8,8]"
                ).report["seconds"]
                run(16 * len(devices))
                for samples in BATCHES:
                    took = statistics.median(run(samples) for _ in range(options.rounds))
                    print(f"| {name} | {samples} | {bound(devices, samples):.3f} | {took:.3f} | "
                          f"{bound(devices, samples) / took:.3f} | {took / best_alone(devices, samples):.2f} |", flush=True)


if __name__ == "__main__":
    main()
