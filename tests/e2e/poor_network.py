"""A TCP proxy that delays, splits, drops and cuts what it carries, from a seed."""

import random
import selectors
import socket
import threading
import time

PORTS = 3  # Of a coordinator, in a row.


class PoorNetwork:
    """Carries connections to `address` ("host", port) from ports of its own on loopback.

    Bytes go on in pieces of random size after random times. As long as `bad` is set, every connection
    is cut, or loses a piece in the middle, after some hundred KiB or a second.
    """

    def __init__(self, address, seed=1):
        self.target = address
        self.random = random.Random(seed)
        self.bad = threading.Event()
        self.cuts = self.drops = 0
        self.listeners = self.listen()
        self.port = self.listeners[0].getsockname()[1]
        self.ending = threading.Event()
        self.thread = threading.Thread(target=self.run)

    def listen(self):
        for _ in range(100):
            first = socket.create_server(("127.0.0.1", 0))
            listeners = [first]
            try:
                for i in range(1, PORTS):
                    listeners.append(socket.create_server(("127.0.0.1", first.getsockname()[1] + i)))
                return listeners
            except (OSError, OverflowError):
                for listener in listeners:
                    listener.close()
        raise AssertionError("there are three free ports in a row")

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *exception):
        self.ending.set()
        self.thread.join()

    def run(self):
        selector = selectors.DefaultSelector()
        for offset, listener in enumerate(self.listeners):
            selector.register(listener, selectors.EVENT_READ, ("accept", offset))
        ends = {}  # A socket -> its other end, and what the connection may still carry and until when.

        def close(end):
            for each in (end, ends[end][0]):
                selector.unregister(each)
                each.close()
                del ends[each]

        while not self.ending.is_set():
            for key, _ in selector.select(0.05):
                kind, offset = key.data
                if kind == "accept":
                    here, _ = key.fileobj.accept()
                    try:
                        there = socket.create_connection((self.target[0], self.target[1] + offset), timeout=5)
                    except OSError:
                        here.close()
                        continue
                    for end in (here, there):
                        end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                        selector.register(end, selectors.EVENT_READ, ("carry", 0))
                    life = [self.random.randrange(1 << 14, 1 << 18), time.monotonic() + self.random.uniform(0.2, 2)]
                    ends[here], ends[there] = (there, life), (here, life)
                elif key.fileobj in ends:
                    self.carry(key.fileobj, ends, close)
        for end in list(ends):
            if end in ends:
                close(end)
        for listener in self.listeners:
            listener.close()

    def carry(self, end, ends, close):
        other, life = ends[end]
        try:
            piece = end.recv(self.random.choice((7, 1000, 1 << 16)))
        except OSError:
            piece = b""
        if not piece:
            close(end)
            return
        life[0] -= len(piece)
        if self.bad.is_set() and (life[0] < 0 or time.monotonic() > life[1]):
            if self.random.random() < 0.5:
                self.cuts += 1
                close(end)
                return
            self.drops += 1  # The peer finds out, since what follows does not decrypt.
            life[:] = self.random.randrange(1 << 14, 1 << 18), time.monotonic() + self.random.uniform(0.2, 2)
            return
        if self.random.random() < 0.05:
            time.sleep(self.random.uniform(0, 0.005))
        try:
            other.sendall(piece)
        except OSError:
            close(end)
