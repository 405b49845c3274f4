"""From a clone to a picture in one command. Builds everything, so it takes as long as that."""

import os
import pathlib
import re
import shutil
import struct
import subprocess

import pytest

import tensors
from cluster import ROOT, is_running

MINUTES = 60


def commands():
    """Processes of this box and their command lines."""
    lines = {}
    for entry in pathlib.Path("/proc").glob("[0-9]*"):
        try:
            lines[entry.name] = (entry / "cmdline").read_bytes().decode(errors="replace")
        except OSError:
            pass  # It has ended.
    return lines


@pytest.mark.skipif(not (ROOT / ".git").exists(), reason="only a clone can be cloned")
def test_a_clone_draws_a_picture(tmp_path):
    clone, out = tmp_path / "clone", tmp_path / "out"
    subprocess.run(["git", "clone", "--quiet", ROOT, clone], check=True, timeout=5 * MINUTES)
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PA_") or name == "PA_JOBS"}
    done = subprocess.run(
        [clone / "deploy" / "quickstart.sh", "--out", out], stdin=subprocess.DEVNULL, capture_output=True, text=True,
        timeout=40 * MINUTES, check=False, env=kept, cwd=tmp_path,
    )
    assert done.returncode == 0, done.stdout + done.stderr

    picture = (out / "samples.png").read_bytes()
    assert picture.startswith(b"\x89PNG\r\n\x1a\n")
    width, height = struct.unpack(">II", picture[16:24])
    assert 300 <= width <= 3000
    assert 200 <= height <= 3000

    samples = tensors.File(out / "result.safetensors").tensors["samples"]
    assert samples.shape == (21, 1, 8, 8)
    assert samples.std() > 0.3

    share = r"cpu-\d \(cpu\) (\d+) at [\d.]+k? samples/s"
    last = done.stdout.splitlines()[-1]
    shares = re.fullmatch(rf"done: 21 samples in [\d.]+ s; {share}, {share}", last)
    assert shares, last
    assert sum(map(int, shares.groups())) == 21

    left = [line for pid, line in commands().items() if str(clone) in line and is_running(pid)]
    assert not left
    shutil.rmtree(clone)
