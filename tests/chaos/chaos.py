#!/usr/bin/env python3
"""Real processes under real faults, from a seed: nothing lost, nothing wrong, nothing twice, nothing hangs.

Starts a coordinator with a journal and workers with the digits, runs batches of them in deterministic mode, and
meanwhile kills and stops workers, kills the coordinator, fills its disk, and kills and restarts clients. Every result
must equal, bit for bit, what an undisturbed worker makes of the same request. Ends with exit code 1, and the seed, if
any does not.
"""

import argparse
import json
import os
import pathlib
import random
import re
import signal
import subprocess
import sys
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).parents[1] / "e2e"))

from cluster import BIN, DONE, MODELS, UNAVAILABLE, Daemon, Result, environment, pa, short_folder  # noqa: E402

KINDS = ("worker killed", "worker stopped", "coordinator killed", "disk filled", "client killed")
RESTART_AFTER = 0.3  # Seconds until a supervisor would have noticed.
RETENTION = 20  # Seconds that a result waits whose acknowledgement was lost.
HANG = 180.0  # Seconds within which any request must end, faults or not.


def specifications(random_):
    """What requests ask for; few, so that each is made once in peace."""
    return [
        {
            "samples": count,
            "seed": random_.randrange(2**32),
            "steps": random_.randint(3, 8),
            "sampler": random_.choice(["euler", "heun", "dpmpp_2m", "ipndm"]),
        }
        for count in (1, 1, 2, 3, 5, 8, 13, 21, 32)
    ]


def arguments(specification):
    return [
        "--model", "digits", "--labels", "0-9", "--count", specification["samples"], "--seed", specification["seed"],
        "--steps", specification["steps"], "--sampler", specification["sampler"], "--set", "deterministic=true",
    ]


class Supervised:
    """A daemon that is started again when it has died. Faults are put in by another thread."""

    def __init__(self, start):
        self.start, self.lock, self.restarts, self.leaving = start, threading.Lock(), 0, False
        self.daemon = start(None)

    def kill(self, failpoints=None):
        """SIGKILL, and a new one a moment later."""
        with self.lock:
            self.daemon.__exit__()
            time.sleep(RESTART_AFTER)
            if not self.leaving:
                self.daemon = self.start(failpoints)
                self.restarts += 1

    def stop(self, seconds):
        """SIGSTOP for a while."""
        with self.lock:
            os.kill(self.daemon.process.pid, signal.SIGSTOP)
            time.sleep(seconds)
            os.kill(self.daemon.process.pid, signal.SIGCONT)

    def mend(self):
        """Starts it again if it died by itself; its exit code, if it did."""
        with self.lock:
            code = self.daemon.process.poll()
            if code is not None and not self.leaving:
                self.daemon = self.start(None)
            return code

    def end(self):
        self.leaving = True
        with self.lock:
            self.daemon.process.send_signal(signal.SIGTERM)
            try:
                self.daemon.process.wait(30)
            except subprocess.TimeoutExpired:
                self.daemon.__exit__()

    def resident(self):
        """Bytes of memory."""
        status = pathlib.Path(f"/proc/{self.daemon.process.pid}/status").read_text()
        return int(re.search(r"VmRSS:\s+(\d+)", status)[1]) * 1024


class Cluster:
    """A coordinator and workers in one folder."""

    def __init__(self, folder, workers):
        self.folder, self.endpoint = folder, f"ipc://{folder}/run/client.sock"
        self.coordinator = Supervised(lambda failpoints: Daemon(
            "pa-coordinator", folder, f"run_dir={folder}/run", f"journal.folder={folder}/journal",
            f"retention.duration={RETENTION}s", failpoints=failpoints,
        ))
        self.workers = [Supervised(self.worker(index)) for index in range(workers)]

    def worker(self, index):
        home = self.folder / f"worker-{index}"
        home.mkdir()
        return lambda failpoints: Daemon(
            "pa-worker", home, f"connect.run_dir={self.folder}/run", f"name=w{index}", f"models={MODELS}", "threads=1",
            "limits.credit_samples=4", failpoints=failpoints,
        )

    def __enter__(self):
        answer = pa("status", "--connect", self.endpoint, "--wait", HANG, limit=HANG)
        assert answer.returncode == DONE, answer.stderr
        return self

    def __exit__(self, *exception):
        for process in (*self.workers, self.coordinator):
            process.end()

    def status(self):
        return json.loads(pa("status", "--connect", self.endpoint, "--json").stdout)


class Clients:
    """Threads that run requests one after the other, and remember what went wrong."""

    def __init__(self, cluster, wanted, total, seed, count=8):
        self.cluster, self.wanted, self.total = cluster, wanted, total
        self.random, self.lock = random.Random(seed), threading.Lock()
        self.started = self.done = self.samples = self.retries = 0
        self.wrong, self.running, self.killed = [], {}, set()
        self.threads = [threading.Thread(target=self.loop, args=(number,)) for number in range(count)]
        for thread in self.threads:
            thread.start()

    def finished(self):
        return not any(thread.is_alive() for thread in self.threads)

    def loop(self, number):
        out = self.cluster.folder / f"result-{number}.safetensors"
        while True:
            with self.lock:
                if self.started == self.total:
                    return
                self.started += 1
                index, request = self.random.randrange(len(self.wanted)), f"{self.random.getrandbits(128):032x}"
                ask_again = self.random.random() < 0.05
            self.run(number, index, request, out, ask_again)

    def run(self, number, index, request, out, ask_again):
        specification, expected = self.wanted[index]
        command = [str(part) for part in (
            BIN / "pa", "sample", "--connect", self.cluster.endpoint, "--id", request, "--out", out,
            *arguments(specification),
        )]
        end = time.monotonic() + HANG
        while True:
            out.unlink(missing_ok=True)
            process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
                env=environment(),
            )
            with self.lock:
                self.running[number] = process
            try:
                _, err = process.communicate(timeout=max(end - time.monotonic(), 1))
            except subprocess.TimeoutExpired:
                process.kill()
                process.communicate()
                return self.fail(f"request {request} hangs: {specification}")
            with self.lock:
                del self.running[number]
                was_killed = process in self.killed
                self.killed.discard(process)
            if process.returncode == DONE:
                break
            if was_killed and "its result was delivered" in err:
                break  # The client had just told that it has its result when it was killed.
            if not was_killed and process.returncode != UNAVAILABLE:
                return self.fail(f"request {request} failed with {process.returncode}: {err}")
            if time.monotonic() > end:
                return self.fail(f"request {request} was not taken within {HANG:.0f} s: {err}")
            with self.lock:
                self.retries += 1
            time.sleep(0 if was_killed else 0.5)
        if process.returncode == DONE and Result(out).values.tobytes() != expected:
            return self.fail(f"request {request} came out wrong: {specification}")
        if ask_again:
            again = pa("sample", "--connect", self.cluster.endpoint, "--id", request, *arguments(specification),
                       "--patience", 60)
            if again.returncode == DONE:
                return self.fail(f"request {request} was delivered twice")
        with self.lock:
            self.done += 1
            self.samples += specification["samples"]

    def fail(self, what):
        with self.lock:
            self.wrong.append(what)

    def kill_one(self, random_):
        with self.lock:
            if self.running:
                victim = self.running[random_.choice(sorted(self.running))]
                self.killed.add(victim)
                victim.kill()


def run_calm(cluster, wanted, total, seed):
    """Requests and samples a second without faults."""
    begin = time.monotonic()
    clients = Clients(cluster, wanted, total, seed)
    for thread in clients.threads:
        thread.join()
    assert not clients.wrong, clients.wrong
    return clients.samples / (time.monotonic() - begin)


def put_faults(cluster, clients, rate, random_, counts):
    """Faults at random times, until the clients are done."""
    repairs = []
    while not clients.finished():
        time.sleep(random_.expovariate(rate))
        kind = random_.choices(KINDS, weights=(4, 3, 2, 1, 4))[0]
        if kind == "worker killed":
            act = (random_.choice(cluster.workers).kill, ())
        elif kind == "worker stopped":
            act = (random_.choice(cluster.workers).stop, (random_.uniform(1, 10),))
        elif kind == "coordinator killed":
            act = (cluster.coordinator.kill, ())
        elif kind == "disk filled":
            act = (fill_disk, (cluster.coordinator, f"journal.commit=enospc@{random_.randint(2, 40)}"))
        else:
            act = (clients.kill_one, (random_,))
        repairs = [repair for repair in repairs if repair.is_alive()]
        if len(repairs) < 3:  # Of four workers one is always left.
            repairs.append(threading.Thread(target=act[0], args=act[1]))
            repairs[-1].start()
            counts[kind] += 1
        for process in (*cluster.workers, cluster.coordinator):
            if not process.lock.locked():
                process.mend()
    for repair in repairs:
        repair.join()


def fill_disk(coordinator, failpoints):
    """A coordinator whose disk is full from some commit on, for 3 seconds."""
    coordinator.kill(failpoints)
    time.sleep(3)
    coordinator.kill()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(2**32))
    parser.add_argument("--requests", type=int, default=10_000)
    parser.add_argument("--workers", type=int, default=4)
    parser.add_argument("--rate", type=float, default=1.0, help="faults a second")
    options = parser.parse_args()
    print(f"seed {options.seed}", flush=True)
    random_ = random.Random(options.seed)
    wanted = []
    with short_folder() as folder, Cluster(folder, 1) as cluster:
        for specification in specifications(random_):
            out = folder / "expected.safetensors"
            answer = pa("sample", "--connect", cluster.endpoint, "--out", out, *arguments(specification))
            assert answer.returncode == DONE, answer.stderr
            wanted.append((specification, Result(out).values.tobytes()))

    with short_folder() as folder, Cluster(folder, options.workers) as cluster:
        calm = run_calm(cluster, wanted, min(options.requests, max(options.requests // 10, 20)), options.seed + 1)
        before = cluster.coordinator.resident()
        counts = dict.fromkeys(KINDS, 0)
        begin = time.monotonic()
        clients = Clients(cluster, wanted, options.requests, options.seed)
        put_faults(cluster, clients, options.rate, random_, counts)
        seconds = time.monotonic() - begin
        run_calm(cluster, wanted, 20, options.seed + 2)
        spool = folder / "journal" / "spool"
        end = time.monotonic() + 3 * RETENTION
        while (cluster.status()["requests"] or any(spool.iterdir())) and time.monotonic() < end:
            time.sleep(1)
        left = [request["id"] for request in cluster.status()["requests"]]
        spooled = [path.name for path in spool.iterdir()]
        after = cluster.coordinator.resident()

    under_faults = clients.samples / seconds
    print("faults: " + ", ".join(f"{count} x {kind}" for kind, count in counts.items()))
    print(f"requests: {clients.done} of {options.requests} right, {clients.retries} tries again, "
          f"{clients.samples} samples in {seconds:.0f} s")
    print(f"throughput: {under_faults:.1f} samples/s, {under_faults / calm:.2f} of a calm run's")
    print(f"coordinator: {before >> 20} MiB before, {after >> 20} MiB after")
    problems = list(clients.wrong)
    if left or spooled:
        problems.append(f"left behind: requests {left}, files {spooled}")
    if clients.done + len(clients.wrong) != options.requests:
        problems.append("a client thread died")
    for problem in problems[:20]:
        print(f"WRONG: {problem}")
    if problems:
        print(f"run again with --seed {options.seed}")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
