#!/usr/bin/env python3
"""Real processes under real faults, from a seed: nothing lost, nothing wrong, nothing twice, nothing hangs.

Starts a coordinator with a journal and workers with the digits, half of them on other boxes (network namespaces, which
need root), runs batches in deterministic mode, and meanwhile kills, stops and drains workers, kills and restarts the
coordinator, fills its disk, cuts links both ways or one way, and kills and restarts clients. Every result must equal, bit for bit, what an
undisturbed worker makes of the same request. Ends with exit code 1, and the seed, if any does not.

A soak, in which no daemon is killed and none may grow:
  chaos.py --minutes 60 --faults "worker stopped,client killed,link cut,one-way cut"
"""

import argparse
import contextlib
import datetime
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

from links import COORDINATOR, Links, within  # noqa: E402
from processes import Watch  # noqa: E402

# Kinds of faults, and how often each comes.
FAULTS = {
    "worker killed": 4, "worker stopped": 3, "worker drained": 2, "coordinator killed": 2, "coordinator restarted": 1,
    "disk filled": 1, "client killed": 4,
}
LINK_FAULTS = {"link cut": 2, "one-way cut": 2, "link spoiled": 2}
OF_WORKERS = ("worker killed", "worker stopped", "link cut", "one-way cut")  # Their samples have to run elsewhere.
PORT = 9460
DRAIN = 60.0  # Seconds: a worker that is cut off waits for its coordinator.
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
        self.wrong = []
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

    def drain(self, seconds):
        """SIGTERM, which it has to obey within so many seconds and with exit code 0, and a new one."""
        with self.lock:
            # A process that has just begun does not listen yet, and would end as the system does it.
            with contextlib.suppress(AssertionError):
                self.daemon.url("metrics")
            self.daemon.process.send_signal(signal.SIGTERM)
            try:
                code = self.daemon.process.wait(seconds)
            except subprocess.TimeoutExpired:
                code = None
                self.daemon.__exit__()
            if code != 0:
                self.wrong.append(f"{self.daemon.log}: exit code {code} after SIGTERM")
            if not self.leaving:
                self.daemon = self.start(None)

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


class Cluster:
    """A coordinator and workers in one folder; the later half of them behind `links`, if there are any."""

    def __init__(self, folder, workers, links=None):
        self.folder, self.endpoint = folder, f"ipc://{folder}/run/client.sock"
        self.links, self.log = links, []
        self.boxed = range(workers - len(links.boxes), workers) if links else ()
        if links:
            for arguments in (["--name", "coordinator"], ["--name", "box", "--allow-worker", "w*"]):
                assert pa("keygen", "--out", folder / "keys", *arguments).returncode == DONE
        self.coordinator = Supervised(self.start_coordinator)
        self.workers = [Supervised(self.worker(index)) for index in range(workers)]

    def start_coordinator(self, failpoints):
        self.keep_log()
        tcp = [f"tcp.address=tcp://{COORDINATOR}:{PORT}", f"tcp.keys={self.folder}/keys"] if self.links else []
        return Daemon(
            "pa-coordinator", self.folder, f"run_dir={self.folder}/run", f"journal.folder={self.folder}/journal",
            f"retention.duration={RETENTION}s",
            "quarantine_after=100",  # Here no sample is to blame, ever.
            *tcp, failpoints=failpoints, prefix=within(self.links.hub) if self.links else [],
        )

    def worker(self, index):
        home = self.folder / f"worker-{index}"
        home.mkdir()
        if index in self.boxed:
            prefix = within(self.links.boxes[index - self.boxed[0]])
            connect = [f"connect.address=tcp://{COORDINATOR}:{PORT}", f"connect.keys={self.folder}/keys/box.secret"]
        else:
            prefix, connect = [], [f"connect.run_dir={self.folder}/run"]
        return lambda failpoints: Daemon(
            "pa-worker", home, *connect, f"name=w{index}", f"models={MODELS}", "threads=1", "limits.credit_samples=4",
            failpoints=failpoints, prefix=prefix,
        )

    def keep_log(self):
        """What the coordinator has said, of shards, before a new one says more."""
        with contextlib.suppress(FileNotFoundError):
            for line in (self.folder / "pa-coordinator.log").read_text().splitlines():
                if '"event":"shard.' in line:
                    with contextlib.suppress(json.JSONDecodeError):  # It was killed while it wrote.
                        event = json.loads(line)
                        event["at"] = datetime.datetime.fromisoformat(event["ts"].replace("Z", "+00:00")).timestamp()
                        self.log.append(event)

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
        self.started = self.done = self.samples = self.retries = self.again = 0
        self.wrong, self.running, self.killed = [], {}, set()
        self.threads = [threading.Thread(target=self.loop, args=(number,)) for number in range(count)]
        for thread in self.threads:
            thread.start()

    def start_no_more(self):
        with self.lock:
            self.total = self.started

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
        lives = self.cluster.coordinator.restarts
        killed = False
        out.unlink(missing_ok=True)
        while True:
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
            if killed and "its result was delivered" in err and out.exists():
                break  # The one before was killed when it had its result, and had just told so.
            killed = killed or was_killed
            if not was_killed and process.returncode != UNAVAILABLE:
                return self.fail(f"request {request} failed with {process.returncode}: {err}")
            if time.monotonic() > end:
                return self.fail(f"request {request} was not taken within {HANG:.0f} s: {err}")
            with self.lock:
                self.retries += 1
            time.sleep(0 if was_killed else 0.5)
        if Result(out).values.tobytes() != expected:
            return self.fail(f"request {request} came out wrong: {specification}")
        if ask_again:
            again = pa("sample", "--connect", self.cluster.endpoint, "--id", request, *arguments(specification),
                       "--patience", 60)
            if again.returncode == DONE and self.cluster.coordinator.restarts == lives:
                return self.fail(f"request {request} was delivered twice")
            with self.lock:  # The coordinator was killed before the acknowledgement was on its disk.
                self.again += again.returncode == DONE
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


class Faults:
    """Faults at random times, until the clients are done."""

    def __init__(self, cluster, kinds, rate, random_):
        self.cluster, self.kinds, self.rate, self.random = cluster, kinds, rate, random_
        self.counts, self.of_workers = dict.fromkeys(kinds, 0), []

    def put(self, clients):
        repairs = []
        while not clients.finished():
            time.sleep(self.random.expovariate(self.rate))
            kind = self.random.choices(list(self.kinds), weights=list(self.kinds.values()))[0]
            act = self.choose(kind, clients)
            repairs = [repair for repair in repairs if repair.is_alive()]
            if len(repairs) < 3:  # Of four workers one is always left.
                repairs.append(threading.Thread(target=act[0], args=act[1:]))
                repairs[-1].start()
                self.counts[kind] += 1
            for process in (*self.cluster.workers, self.cluster.coordinator):
                if not process.lock.locked():
                    process.mend()
        for repair in repairs:
            repair.join()

    def choose(self, kind, clients):
        """A function and its arguments."""
        cluster, random_ = self.cluster, self.random
        index = random_.choice(cluster.boxed if kind in LINK_FAULTS else range(len(cluster.workers)))
        if kind in OF_WORKERS:
            self.of_workers.append((time.time(), f"w{index}"))
        cable = index - cluster.boxed[0] if kind in LINK_FAULTS else None
        return {
            "worker killed": lambda: (cluster.workers[index].kill,),
            "worker stopped": lambda: (cluster.workers[index].stop, random_.uniform(1, 10)),
            "worker drained": lambda: (cluster.workers[index].drain, DRAIN),
            "coordinator killed": lambda: (cluster.coordinator.kill,),
            "coordinator restarted": lambda: (cluster.coordinator.drain, DRAIN),
            "disk filled": lambda: (
                fill_disk, cluster.coordinator, f"journal.commit=enospc@{random_.randint(2, 40)}"),
            "client killed": lambda: (clients.kill_one, random_),
            "link cut": lambda: (cluster.links.cut, cable, random_.uniform(0.5, 8)),
            "one-way cut": lambda: (
                cluster.links.cut_one_way, cable, random_.uniform(0.5, 8), random_.random() < 0.5),
            "link spoiled": lambda: (cluster.links.spoil, cable, random_.uniform(2, 8)),
        }[kind]()

    def until_run_again(self):
        """Seconds from faults of workers that lost samples, to the moment when others were given them."""
        log = sorted(self.cluster.log, key=lambda event: event["at"])
        seconds = []
        for at, name in self.of_workers:
            lost = next((event for event in log if event["event"] == "shard.lost" and event["worker"] == name
                         and at < event["at"] < at + 12), None)
            again = lost and next((event for event in log if event["event"] == "shard.again"
                                   and event["at"] >= lost["at"] and event["request"] == lost["request"]), None)
            if again:
                seconds.append(again["at"] - at)
        return seconds


def fill_disk(coordinator, failpoints):
    """A coordinator whose disk is full from some commit on, for 3 seconds."""
    coordinator.kill(failpoints)
    time.sleep(3)
    coordinator.kill()


def percentile(values, part):
    return sorted(values)[min(int(len(values) * part), len(values) - 1)] if values else float("nan")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(2**32))
    parser.add_argument("--requests", type=int, default=10_000)
    parser.add_argument("--minutes", type=float, help="as long as this instead, with as many requests as it takes")
    parser.add_argument("--workers", type=int, default=4)
    parser.add_argument("--rate", type=float, default=1.0, help="faults a second")
    parser.add_argument("--faults", help="only these kinds, with commas between them")
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

    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(short_folder())
        links = stack.enter_context(Links(options.workers // 2)) if Links.possible() else None
        kinds = {**FAULTS, **(LINK_FAULTS if links else {})}
        if links and not links.has_netem:
            del kinds["link spoiled"]
            print("this kernel has no netem: links are cut, and not slow or lossy")
        if options.faults:
            kinds = {kind: kinds[kind] for kind in options.faults.split(",") if kind in kinds}
        cluster = stack.enter_context(Cluster(folder, options.workers, links))
        total = options.requests if options.minutes is None else sys.maxsize
        calm = run_calm(cluster, wanted, max(min(total, 1000) // 10, 20), options.seed + 1)
        faults = Faults(cluster, kinds, options.rate, random_)
        begin = time.monotonic()
        clients = Clients(cluster, wanted, total, options.seed)
        with Watch(lambda: {"coordinator": cluster.coordinator.daemon.process.pid,
                            **{f"w{i}": each.daemon.process.pid for i, each in enumerate(cluster.workers)}},
                   folder / "journal" / "spool") as watch:
            if options.minutes is not None:
                threading.Timer(60 * options.minutes, clients.start_no_more).start()
            faults.put(clients)
        seconds = time.monotonic() - begin
        run_calm(cluster, wanted, 20, options.seed + 2)
        spool = folder / "journal" / "spool"
        end = time.monotonic() + 3 * RETENTION
        while (cluster.status()["requests"] or any(spool.iterdir())) and time.monotonic() < end:
            time.sleep(1)
        left = [request["id"] for request in cluster.status()["requests"]]
        spooled = [path.name for path in spool.iterdir()]
        cluster.keep_log()

    under_faults = clients.samples / seconds
    again = faults.until_run_again()
    print("faults: " + ", ".join(f"{count} x {kind}" for kind, count in faults.counts.items()))
    print(f"requests: {clients.done} of {clients.started} right, {clients.retries} tries again, "
          f"{clients.samples} samples in {seconds:.0f} s")
    print(f"asked for again after a kill that took their acknowledgement, and given once more: {clients.again}")
    print(f"throughput: {under_faults:.1f} samples/s, {under_faults / calm:.2f} of a calm run's")
    print(f"from a fault of a worker to its samples on another: p50 {percentile(again, 0.5):.2f} s, "
          f"p99 {percentile(again, 0.99):.2f} s, of {len(again)}")
    print(watch.table())
    problems = list(clients.wrong)
    for process in (*cluster.workers, cluster.coordinator):
        problems += process.wrong
    if left or spooled:
        problems.append(f"left behind: requests {left}, files {spooled}")
    if clients.done + len(clients.wrong) != clients.started:
        problems.append("a client thread died")
    for problem in problems[:20]:
        print(f"WRONG: {problem}")
    if problems:
        print(f"run again with --seed {options.seed}")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
