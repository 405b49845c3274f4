"""docs/several-boxes.md, line by line, with two network namespaces for boxes. Needs root."""

import contextlib
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import time

import pytest

from cluster import BIN, HANG, MODELS, ROOT, environment, short_folder, wait_for

ADDRESSES = {"box1": "192.168.77.1", "box2": "192.168.77.2"}
LINE = re.compile(r"^(box\d)\$ (.*)$", re.MULTILINE)

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="network namespaces need root"),
    pytest.mark.skipif(shutil.which("ip") is None, reason="needs iproute2"),
]


def ip(*arguments):
    subprocess.run(["ip", *arguments], check=True, capture_output=True)


@contextlib.contextmanager
def two_boxes():
    """Two namespaces with a cable between them; yields box -> namespace."""
    names = {box: f"pa-{os.getpid()}-{box}" for box in ADDRESSES}
    cables = {box: f"pa{os.getpid() % 100000}{box[-1]}" for box in ADDRESSES}
    try:
        for name in names.values():
            ip("netns", "add", name)
        ip("link", "add", cables["box1"], "type", "veth", "peer", "name", cables["box2"])
        for box, name in names.items():
            ip("link", "set", cables[box], "netns", name)
            ip("-n", name, "addr", "add", f"{ADDRESSES[box]}/24", "dev", cables[box])
            ip("-n", name, "link", "set", cables[box], "up")
            ip("-n", name, "link", "set", "lo", "up")
    except (OSError, subprocess.CalledProcessError) as error:
        for name in names.values():
            subprocess.run(["ip", "netns", "del", name], check=False, capture_output=True)
        pytest.skip(f"no network namespaces here: {error}")
    try:
        yield names
    finally:
        for name in names.values():
            subprocess.run(["ip", "netns", "del", name], check=False, capture_output=True)


class Boxes:
    """Runs shell lines on boxes; what ends in & goes on until the end."""

    def __init__(self, folder, namespaces):
        self.namespaces = namespaces
        self.homes = {box: folder / box for box in namespaces}
        self.running = []
        tools = folder / "tools"
        tools.mkdir()
        copy = tools / "scp"  # The boxes' disks are folders of this one.
        copy.write_text('#!/bin/sh\nfor last; do :; done\nto=$HOMES/${last%%:*}/${last#*:}\n'
                        'while [ $# -gt 1 ]; do cp -p "$1" "$to" || exit 1; shift; done\n')
        copy.chmod(0o755)
        self.environment = {**environment(), "HOMES": str(folder),
                            "OMP_WAIT_POLICY": "PASSIVE",
                            "PATH": f"{tools}:{BIN}:{os.environ['PATH']}"}
        for home in self.homes.values():
            home.mkdir()
            (home / "models").symlink_to(MODELS)

    def run(self, box, line):
        command = ["ip", "netns", "exec", self.namespaces[box], "sh", "-c"]
        options = {"cwd": self.homes[box], "env": self.environment, "stdin": subprocess.DEVNULL}
        if line.endswith("&"):
            log = (self.homes[box] / f"log{len(self.running)}").open("w")
            line = "exec " + line.removesuffix("&").strip() + " --set http.port=0"
            self.running.append(subprocess.Popen([*command, line], stdout=log, stderr=log, **options))
            return None
        return subprocess.run([*command, line], capture_output=True, text=True, timeout=HANG,
                              check=False, **options)

    def stop(self):
        for process in reversed(self.running):
            process.send_signal(signal.SIGTERM)
        for process in self.running:
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def logs(self):
        return "\n".join(path.read_text() for home in self.homes.values()
                         for path in sorted(home.glob("log*")))

    def workers(self, box, where):
        answer = self.run(box, f"pa status --json {where}")
        if answer.returncode != 0:
            return {}
        return {worker["name"]: worker["state"] for worker in json.loads(answer.stdout)["workers"]}


def on_box1(boxes):
    return f"--connect ipc://{boxes.homes['box1']}/run/client.sock"


def documented_lines():
    return LINE.findall((ROOT / "docs" / "several-boxes.md").read_text())


def test_the_documented_lines_make_a_cluster_of_two_boxes():
    lines = documented_lines()
    assert len(lines) == 10
    with short_folder() as folder, two_boxes() as namespaces:
        boxes = Boxes(pathlib.Path(folder), namespaces)
        try:
            for box, line in lines:
                if line.startswith("pa sample") and box == "box1":
                    both = {"box1:cpu": "live", "box2:cpu": "live"}
                    wait_for("both workers are live", lambda: boxes.workers("box1", on_box1(boxes)) == both)
                answer = boxes.run(box, line)
                assert answer is None or answer.returncode == 0, (line, answer.stderr, boxes.logs())
                if line.startswith("pa sample"):
                    assert "box1:cpu" in answer.stdout and "box2:cpu" in answer.stdout
            made = [boxes.homes["box1"] / "here.safetensors", boxes.homes["box2"] / "there.safetensors"]
            here, there = (path.read_bytes() for path in made)
            assert len(here) > 20 * 16 * 16 and len(there) > 20 * 16 * 16

            # A worker's key opens no client's port, and nobody is let in without a listed one.
            refused = boxes.run("box2", "pa status --connect tcp://192.168.77.1 --keys keys/box2.secret")
            assert refused.returncode == 4 and "does it allow this key?" in refused.stderr
            assert "its key is for a worker" in boxes.logs()

            # Off the list, and out after SIGHUP.
            allow = boxes.homes["box1"] / "keys" / "allow.yaml"
            allow.write_text("".join(line for line in allow.read_text().splitlines(True) if "box2" not in line))
            boxes.running[0].send_signal(signal.SIGHUP)
            wait_for("the worker of box2 is gone",
                     lambda: boxes.workers("box1", on_box1(boxes)).get("box2:cpu") != "live")
        finally:
            boxes.stop()


def test_a_coordinator_does_not_listen_without_its_keys():
    with short_folder() as folder:
        started = time.monotonic()
        answer = subprocess.run(
            [BIN / "pa-coordinator", "--set", f"run_dir={folder}/run", "--set",
             "tcp.address=tcp://127.0.0.1:19999", "--set", f"tcp.keys={folder}/none", "--set", "http.port=0"],
            capture_output=True, text=True, timeout=HANG, check=False, env=environment())
        assert answer.returncode == 1
        assert "coordinator.secret" in answer.stderr
        assert time.monotonic() - started < HANG
