"""Network links between a coordinator and workers of other boxes, which can be cut. Needs root and iproute2.

The coordinator's box and every worker's are network namespaces, with a cable from each worker's to the coordinator's.
"""

import contextlib
import os
import subprocess
import threading
import time

COORDINATOR = "10.77.255.1"


def ip(*arguments):
    subprocess.run(["ip", *map(str, arguments)], check=True, capture_output=True)


def within(namespace):
    """What runs a program in a namespace, put before its command line."""
    return ["ip", "netns", "exec", namespace]


class Links:
    """A context manager. `workers`: how many boxes beside the coordinator's."""

    def __init__(self, workers):
        self.hub = f"pa-{os.getpid()}-hub"
        self.boxes = [f"pa-{os.getpid()}-{index}" for index in range(workers)]
        self.has_netem = None
        self.faults = [threading.Lock() for _ in self.boxes]

    def __enter__(self):
        try:
            for name in (self.hub, *self.boxes):
                ip("netns", "add", name)
                ip("-n", name, "link", "set", "lo", "up")
            ip("-n", self.hub, "addr", "add", f"{COORDINATOR}/32", "dev", "lo")
            for index, box in enumerate(self.boxes):
                ip("-n", self.hub, "link", "add", f"to{index}", "type", "veth", "peer", "name", "eth", "netns", box)
                ip("-n", self.hub, "addr", "add", f"{self.address(index, 1)}/24", "dev", f"to{index}")
                ip("-n", box, "addr", "add", f"{self.address(index, 2)}/24", "dev", "eth")
                ip("-n", self.hub, "link", "set", f"to{index}", "up")
                ip("-n", box, "link", "set", "eth", "up")
                ip("-n", box, "route", "add", "default", "via", self.address(index, 1))
        except BaseException:
            self.__exit__()
            raise
        self.has_netem = self.netem(0, "add", "delay", "0ms")
        return self

    def __exit__(self, *exception):
        for name in (self.hub, *self.boxes):
            subprocess.run(["ip", "netns", "del", name], check=False, capture_output=True)

    @staticmethod
    def possible():
        if os.geteuid() != 0:
            return False
        name = f"pa-{os.getpid()}-try"
        try:
            ip("netns", "add", name)
            ip("netns", "del", name)
        except (OSError, subprocess.CalledProcessError):
            return False
        return True

    @staticmethod
    def address(index, host):
        return f"10.77.{index}.{host}"

    def netem(self, index, *what):
        """Whether the kernel could do it to both ends of a cable."""
        ends = ((self.hub, f"to{index}"), (self.boxes[index], "eth"))
        command = lambda space, device: ["tc", "-n", space, "qdisc", what[0], "dev", device, "root", "netem", *what[1:]]
        try:
            return all(subprocess.run(command(*end), check=False, capture_output=True).returncode == 0 for end in ends)
        except OSError:
            return False

    @contextlib.contextmanager
    def alone(self, index):
        """Whether nothing is amiss with the cable already; nothing else will be then."""
        free = self.faults[index].acquire(blocking=False)
        try:
            yield free
        finally:
            if free:
                self.faults[index].release()

    def cut(self, index, seconds):
        """Nothing goes either way."""
        with self.alone(index) as free:
            if not free:
                return
            ip("-n", self.hub, "link", "set", f"to{index}", "down")
            time.sleep(seconds)
            ip("-n", self.hub, "link", "set", f"to{index}", "up")

    def cut_one_way(self, index, seconds, from_worker):
        """What one of the two says is lost on the way; it hears the other."""
        if from_worker:
            space, destination = self.boxes[index], COORDINATOR
        else:
            space, destination = self.hub, self.address(index, 2)
        with self.alone(index) as free:
            if not free:
                return
            ip("-n", space, "route", "add", "blackhole", f"{destination}/32")
            time.sleep(seconds)
            ip("-n", space, "route", "del", "blackhole", f"{destination}/32")

    def spoil(self, index, seconds):
        """Slow, lossy and out of order."""
        with self.alone(index) as free:
            if not free:
                return
            self.netem(index, "replace", "delay", "60ms", "40ms", "loss", "4%", "reorder", "25%")
            time.sleep(seconds)
            self.netem(index, "replace", "delay", "0ms")
