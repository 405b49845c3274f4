"""Between a coordinator and others on TCP, connections are slow, split, cut, and lose bytes."""

import json
import socket
import time

import numpy as np

from cluster import DONE, HANG, MODELS, Daemon, Run, pa, short_folder, wait_for
from poor_network import PORTS, PoorNetwork

WORKERS = ("near", "far")


def free_port():
    """The first of three free ones."""
    while True:
        with socket.create_server(("127.0.0.1", 0)) as first:
            port = first.getsockname()[1]
            try:
                for i in range(1, PORTS):
                    socket.create_server(("127.0.0.1", port + i)).close()
                return port
            except (OSError, OverflowError):
                continue


def test_batches_are_right_though_every_connection_breaks():
    with short_folder() as folder:
        keys, port = folder / "keys", free_port()
        for arguments in (["--name", "coordinator"], ["--name", "box", "--allow-worker", "box:*"],
                          ["--name", "alice", "--allow-client", "alice"]):
            assert pa("keygen", "--out", keys, *arguments).returncode == DONE
        with PoorNetwork(("127.0.0.1", port)) as network, \
                Daemon("pa-coordinator", folder, f"run_dir={folder}/run", f"tcp.keys={keys}",
                       f"tcp.address=tcp://127.0.0.1:{port}", "journal.folder=''"):
            way = ["--connect", f"tcp://127.0.0.1:{network.port}", "--keys", keys / "alice.secret"]
            workers = []
            try:
                for name in WORKERS:
                    (folder / name).mkdir()
                    workers.append(Daemon("pa-worker", folder / name, f"name=box:{name}", f"models={MODELS}",
                                          f"connect.address=tcp://127.0.0.1:{network.port}",
                                          f"connect.keys={keys}/box.secret"))

                def live():
                    answer = pa("status", "--json", *way)
                    states = [w["state"] for w in json.loads(answer.stdout)["workers"]] if answer.stdout else []
                    return states == ["live", "live"]

                wait_for("both workers are live", live)

                def draw(index, seed):
                    out = folder / f"{index}.safetensors"
                    return Run(["sample", *way, "--model", "digits", "--labels", "0-9", "--count", 12, "--seed", seed,
                                "--steps", 8, "--set", "deterministic=true", "--out", out], out, HANG)

                calm = [draw(seed, seed).result().values for seed in range(3)]
                network.bad.set()
                started = time.monotonic()
                for round_ in range(3):
                    runs = [draw(f"{round_}-{seed}", seed) for seed in range(3)]
                    for run, right in zip(runs, calm):
                        assert np.array_equal(run.result().values, right)
                network.bad.clear()
                assert network.cuts + network.drops >= 10, (network.cuts, network.drops)
                print(f"{network.cuts} cuts and {network.drops} drops in {time.monotonic() - started:.1f} s")
            finally:
                for worker in workers:
                    worker.__exit__()
