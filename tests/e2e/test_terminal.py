"""On a terminal `pa sample` shows how far each device is; elsewhere it is quiet."""

import json
import os
import pty
import re
import subprocess

import pytest

from cluster import BIN, HANG, Cluster, environment


@pytest.fixture(scope="module")
def cluster():
    with Cluster(["name=a,sim=20ms+5ms", "name=b,sim=20ms+5ms"]) as cluster:
        yield cluster


def command(cluster, *more):
    arguments = ["sample", "--state", cluster.state, "--model", "digits", "--labels", "0-9", "--count", 21, *more]
    return [str(argument) for argument in (BIN / "pa", *arguments)]


def read_terminal(arguments):
    """What a program writes to standard error while that is a terminal, its standard output, its exit code."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        arguments, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=theirs, env=environment()
    )
    os.close(theirs)
    shown = b""
    try:
        while chunk := os.read(ours, 65536):
            shown += chunk
    except OSError:
        pass  # How a terminal says that its other end is closed.
    finally:
        os.close(ours)
    out = process.communicate(timeout=HANG)[0]
    return shown.decode(), out.decode(), process.returncode


def test_the_bar_tells_each_devices_rate(cluster):
    shown, out, code = read_terminal(command(cluster))
    assert code == 0, shown
    frames = shown.split("\r\x1b[K")
    assert any(re.search(r"^ *\d+% \[#+-+\] \d+/21 ", frame) for frame in frames)
    for name in ("a", "b"):
        assert any(re.search(rf"  {name} \d+/\d+ [\d.]+k? it/s", frame) for frame in frames)
    assert any(frame.endswith(" left") for frame in frames)
    assert frames[-1] == ""  # Nothing is left of it.
    assert out.startswith("done: 21 samples in ")


def test_elsewhere_there_is_one_line(cluster):
    answer = subprocess.run(
        command(cluster, "--steps", 2), capture_output=True, text=True, timeout=HANG, check=True, env=environment()
    )
    assert answer.stderr == ""
    (line,) = answer.stdout.splitlines()
    share = r"{} \(cpu\) (\d+) at [\d.]+k? samples/s"
    shares = re.fullmatch(rf"done: 21 samples in [\d.]+ s; {share.format('a')}, {share.format('b')}", line)
    assert shares, line
    assert sum(map(int, shares.groups())) == 21


def test_programs_get_json(cluster):
    answer = subprocess.run(
        command(cluster, "--steps", 2, "--json"), capture_output=True, text=True, timeout=HANG, check=True,
        env=environment(),
    )
    assert answer.stderr == ""
    (line,) = answer.stdout.splitlines()
    report = json.loads(line)
    assert sum(device["samples"] for device in report["devices"]) == len(report["samples"]) == 21
    assert report["request"]["labels"] == list("012345678901234567890")
