"""Real processes of one-box clusters, which are always stopped, whatever a test does with them.

Every wait ends: by what it waits for, or at a limit that only a hang reaches.
"""

import contextlib
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import tempfile
import time
import urllib.error
import urllib.request

import tensors

ROOT = pathlib.Path(os.environ.get("PA_SOURCE_DIR", pathlib.Path(__file__).parents[2]))
BIN = pathlib.Path(os.environ.get("PA_BIN_DIR", ROOT / "build" / "release" / "bin"))
MODELS = ROOT / "config" / "models"
HANG = 120.0  # Seconds after which something does not happen any more, on a box that is very busy.

DONE, INTERNAL, USAGE, INVALID, UNAVAILABLE, DEADLINE, CANCELLED, SOME_FAILED = range(8)  # Exit codes of pa.


def wait_for(what, condition, limit=HANG):
    """Returns the first true value of `condition()`; fails, naming `what`, after `limit` seconds."""
    end = time.monotonic() + limit
    while True:
        value = condition()
        if value:
            return value
        assert time.monotonic() < end, f"{what}: not within {limit:.0f} s"
        time.sleep(0.02)


def is_running(pid):
    """Whether a process is there and not just waiting to be collected."""
    try:
        stat = pathlib.Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return stat.rpartition(")")[2].split()[0] != "Z"


def environment():
    """This process' environment without what tells `pa` of another cluster."""
    return {name: value for name, value in os.environ.items() if not name.startswith("PA_")}


def pa(*arguments, limit=HANG, **options):
    """Runs `pa` to its end. Its `returncode`, `stdout` and `stderr` are in what is returned."""
    command = [BIN / "pa", *map(str, arguments)]
    options = {"stdin": subprocess.DEVNULL, "text": True, "env": environment(), **options}
    return subprocess.run(command, capture_output=True, timeout=limit, check=False, **options)


def get(url):
    """The status code and text that an HTTP server of this box answers with."""
    try:
        with urllib.request.urlopen(url, timeout=HANG) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def metrics(url):
    """Values of a /metrics page, by series as it is written there."""
    lines = get(url)[1].splitlines()
    return {line.rpartition(" ")[0]: float(line.rpartition(" ")[2]) for line in lines if not line.startswith("#")}


@contextlib.contextmanager
def short_folder():
    """A folder with a name short enough for the addresses of sockets in it."""
    path = pathlib.Path(tempfile.mkdtemp(prefix="pa-", dir="/tmp"))
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


class Result:
    """A result file of `pa`."""

    def __init__(self, path):
        file = tensors.File(path)
        self.report = json.loads(file.metadata["result"])
        self.request = json.loads(file.metadata["request"])
        (self.values,) = file.tensors.values()

    def shares(self):
        """How many samples each worker made."""
        return {device["worker"]: device["samples"] for device in self.report["devices"]}

    def attempts(self):
        return [sample["attempts"] for sample in self.report["samples"]]


class Run:
    """A `pa` command that runs."""

    def __init__(self, arguments, out, limit):
        self.out, self.limit, self.ended = out, limit, None
        command = [BIN / "pa", *map(str, arguments)]
        self.errors = out.with_suffix(".err")
        with self.errors.open("w") as errors:
            self.process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=errors, text=True, env=environment()
            )

    def said(self):
        """Standard error so far."""
        return self.errors.read_text()

    def end(self):
        """Waits; the exit code, standard output and standard error."""
        if self.ended is None:
            out, _ = self.process.communicate(timeout=self.limit)
            self.ended = (self.process.returncode, out, self.said())
        return self.ended

    def result(self):
        """Waits for the end, which must be a good one; what the run has made."""
        code, _, err = self.end()
        assert code == DONE, err
        return Result(self.out)

    def kill(self):
        if self.ended is None:
            self.process.kill()
            out, _ = self.process.communicate()
            self.ended = (self.process.returncode, out, self.said())


class Daemon:
    """A daemon without a supervisor, which is killed at the end.

    failpoints: as shared/io/failpoint.h reads them. prefix: a command that runs it.
    """

    def __init__(self, program, folder, *settings, failpoints=None, prefix=()):
        self.log = folder / f"{program}.log"
        command = [*prefix, BIN / program, "--set", "http.port=0", "--set", "log.format=json"]
        for setting in settings:
            command += ["--set", setting]
        env = environment()
        if failpoints:
            env["PA_FAILPOINTS"] = failpoints
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, env=env
            )

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.process.kill()
        self.process.wait()

    def url(self, page):
        """Where a page is: the log tells the port once there is one."""
        port = wait_for(f"a port in {self.log}", lambda: re.search(r'"http_port":"?(\d+)', self.log.read_text()))
        return f"http://127.0.0.1:{port[1]}/{page}"

    def is_ready(self):
        return get(self.url("readyz"))[0] == 200


class Cluster:
    """What `pa up` makes. A context manager: ready when entered, gone when left.

    workers: a number, or a list of --worker specifications. state: a folder, instead of one of its own.
    """

    def __init__(self, workers=2, models=MODELS, state=None):
        if isinstance(workers, int):
            self.arguments = ["--workers", str(workers)]
        else:
            self.arguments = [argument for worker in workers for argument in ("--worker", worker)]
        self.models, self.state = models, state
        self.runs = []

    def __enter__(self):
        self.exits = contextlib.ExitStack()
        self.folder = self.exits.enter_context(short_folder())
        self.state = self.state or self.folder / "s"
        self.log = self.folder / "up.log"
        with self.log.open("w") as log:
            command = [BIN / "pa", "up", *self.arguments, "--models", self.models, "--state", self.state]
            self.process = subprocess.Popen(
                list(map(str, command)), stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT,
                env=environment(),
            )
        self.exits.callback(self.end)
        try:
            ready = pa("status", "--state", self.state, "--wait", HANG, limit=2 * HANG)
            assert ready.returncode == DONE, ready.stderr + self.log.read_text()
        except BaseException:
            self.exits.close()
            raise
        return self

    def __exit__(self, *exception):
        self.exits.close()

    def end(self):
        """Ends all processes, politely if they listen."""
        for run in self.runs:
            run.kill()
        if self.process.poll() is None:
            with contextlib.suppress(OSError):
                for pid in filter(None, self.pids()):
                    os.kill(pid, signal.SIGCONT)  # A test may have left one stopped.
            self.process.send_signal(signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(HANG)
        self.process.kill()  # And with it, by the kernel, those of its children that are left.
        self.process.wait()

    def stop(self, how=signal.SIGTERM):
        """Tells `pa up` to stop; its exit code."""
        self.process.send_signal(how)
        return self.process.wait(HANG)

    def file(self):
        return json.loads((self.state / "cluster.json").read_text())

    def names(self):
        return [worker["name"] for worker in self.file()["workers"]]

    def member(self, name):
        """What cluster.json tells of "coordinator" or a worker."""
        file = self.file()
        return file["coordinator"] if name == "coordinator" else {w["name"]: w for w in file["workers"]}[name]

    def pid(self, name):
        """The process of "coordinator" or a worker; 0 if it is down."""
        return self.member(name)["pid"]

    def pids(self):
        return [self.pid(name) for name in ("coordinator", *self.names())]

    def url(self, name, page="metrics"):
        return re.sub("metrics$", page, self.member(name)["metrics"])

    def metrics(self, name):
        return metrics(self.url(name))

    def signal(self, name, number):
        os.kill(self.pid(name), number)

    def pa(self, command, *arguments, **options):
        return pa(command, "--state", self.state, *arguments, **options)

    def status(self):
        answer = self.pa("status", "--json")
        assert answer.returncode == DONE, answer.stderr
        return json.loads(answer.stdout)

    def workers(self):
        """What `pa status` tells of each worker, by name."""
        return {worker["name"]: worker for worker in self.status()["workers"]}

    def start(self, *arguments, command="sample", limit=HANG):
        """Begins to run a request; the result goes into a file of its own."""
        out = self.folder / f"result-{len(self.runs)}.safetensors"
        run = Run([command, "--state", self.state, "--out", out, *arguments], out, limit)
        self.runs.append(run)
        return run

    def run(self, *arguments, **options):
        """Runs a request and reads its result."""
        return self.start(*arguments, **options).result()

    def computing(self, name):
        """Whether a worker has begun to compute."""
        return self.metrics(name)[f'pa_device_steps_total{{device="{name}"}}'] > 0

    def idle(self):
        """Whether there is nothing to do any more."""
        status = self.status()
        return not status["requests"] and all(worker["assigned"] == 0 for worker in status["workers"])

    def start_digits(self, count, *arguments, seed=1):
        """Begins to draw `count` digits, 0 to 9 again and again."""
        request = ["--model", "digits", "--labels", "0-9", "--count", count, "--seed", seed]
        return self.start(*request, *arguments)

    def digits(self, count, *arguments, seed=1):
        return self.start_digits(count, *arguments, seed=seed).result()
