"""A large request takes little more memory than its own bytes, in the coordinator and in `pa`."""

import pathlib
import re
import subprocess
import sys

import numpy as np

import tensors
from cluster import BIN, HANG, Cluster, environment

SHAPE = (21, 2, 1024, 1024)  # 8 MiB a sample.
PAYLOAD = 4 * int(np.prod(SHAPE))
MOST = 2.5  # Times the payload, which comes in and goes out.

# Runs a command and prints its peak memory in KiB. Small, since what a process inherits counts.
MEASURE = """
import os, sys
_, status, usage = os.wait4(os.posix_spawn(sys.argv[1], sys.argv[1:], os.environ), 0)
print(usage.ru_maxrss)
sys.exit(os.waitstatus_to_exitcode(status))
"""


def peak_of_process(pid):
    """The most memory that a process has had resident, in bytes."""
    status = pathlib.Path(f"/proc/{pid}/status").read_text()
    return 1024 * int(re.search(r"VmHWM:\s+(\d+) kB", status)[1])


def test_a_request_of_168_mib(tmp_path, record_property):
    (tmp_path / "models" / "noop").mkdir(parents=True)
    (tmp_path / "models" / "noop" / "model.yaml").write_text("family: noop\n")
    x = np.random.default_rng(1).random(SHAPE, np.float32)
    request = tensors.write_request(tmp_path / "request", {"op": "forward", "model": "noop", "samples": len(x)}, x=x)
    out = tmp_path / "result"
    with Cluster(2, models=tmp_path / "models") as cluster:
        command = [BIN / "pa", "forward", "--state", cluster.state, "--request", request, "--out", out]
        done = subprocess.run(
            [sys.executable, "-S", "-c", MEASURE, *map(str, command)], capture_output=True, text=True,
            timeout=HANG, check=False, env=environment(),
        )
        assert done.returncode == 0, done.stderr
        peaks = {
            "coordinator": peak_of_process(cluster.pid("coordinator")),
            "pa": 1024 * int(done.stdout.splitlines()[-1]),
        }
    (result,) = tensors.File(out).tensors.values()
    for file in (request, out):
        file.unlink()  # The test's folder is kept.
    np.testing.assert_array_equal(result, x)
    for program, peak in peaks.items():
        ratio = peak / PAYLOAD
        print(f"{program}: {peak / 2**20:.0f} MiB for a payload of {PAYLOAD / 2**20:.0f} MiB, {ratio:.2f} times")
        record_property(f"{program}_peak_ratio", f"{ratio:.3f}")
    assert max(peaks.values()) <= MOST * PAYLOAD
