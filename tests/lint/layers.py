#!/usr/bin/env python3
"""Includes point downwards, and cores touch no clock, thread, randomness or third-party library."""

import re

import sources

WIRE_VALUES = ["shared/wire/blobs.h", "shared/wire/messages.h", "shared/wire/streams.h"]  # Plain values; the codec is not.

# Folder -> what its files may include of the repository; the longest prefix that matches counts.
MAY_INCLUDE = {
    "shared/core": ["shared/core"],
    "shared/sampling": ["shared/core", "shared/sampling"],
    "shared/wire": ["shared/core", "shared/sampling", "shared/wire"],
    "shared/io": ["shared/core", "shared/sampling", "shared/wire", "shared/io"],
    "shared/models": ["shared"],
    "coordinator/core": ["shared/core", "shared/sampling", *WIRE_VALUES, "coordinator/core"],
    "coordinator": ["shared", "coordinator"],
    "worker/core": ["shared/core", "shared/sampling", *WIRE_VALUES, "worker/core"],
    "worker/cuda": ["shared/core", "worker/cuda"],
    "worker/models": ["shared", "worker/models", "worker/cuda"],
    "worker/engine": ["shared", "worker/core", "worker/engine", "worker/models", "worker/cuda"],
    "worker": ["shared", "worker"],
    "clients/cpp": ["shared", "clients/cpp"],
    "clients": ["shared", "clients"],
    "tests": ["shared", "coordinator", "worker", "clients", "tests"],
}

# Folders whose code must behave the same on simulated time, from a seed.
PURE = ("shared/core", "shared/sampling", "coordinator/core", "worker/core")
IMPURE_HEADERS = re.compile(
    r"(thread|mutex|shared_mutex|condition_variable|future|semaphore|latch|barrier|stop_token"
    r"|fstream|iostream|filesystem|unistd\.h|fcntl\.h|poll\.h|signal\.h|dlfcn\.h|sys/.*)$")
IMPURE_NAMES = re.compile(
    r"\b((steady|system|high_resolution)_clock::now|random_device|getenv|clock_gettime|time\(nullptr\))")
THIRD_PARTY = re.compile(
    r"(zmq|msgpack|yaml-cpp/|prometheus/|spdlog/|fmt/|CLI/|png\.h|sqlite3\.h|sodium|[Cc]ivet|gtest/|gmock/)")

LIBTORCH = re.compile(r"(ATen/|c10/|torch/)")
MAY_SEE_LIBTORCH = ("worker/cuda", "worker/models", "worker/engine", "worker/io", "worker/main.cc", "tests")

INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]')
COMMENT = re.compile(r"//.*")


def within(path, prefixes):
    return any(path == prefix or path.startswith(prefix + "/") for prefix in prefixes)


def check(path, text):
    layer = max((folder for folder in MAY_INCLUDE if within(path, [folder])), key=len)
    pure = within(path, PURE)
    for number, line in enumerate(text.splitlines(), start=1):
        where = f"{path}:{number}:"
        include = INCLUDE.match(line)
        if include and include[1] == '"':
            if not within(include[2], sources.FOLDERS):
                yield f'{where} "{include[2]}" is not a path from the repository root'
            elif not within(include[2], MAY_INCLUDE[layer]):
                yield f"{where} {layer} must not include {include[2]}"
        elif include:
            if pure and (IMPURE_HEADERS.match(include[2]) or THIRD_PARTY.match(include[2])):
                yield f"{where} {layer} must not include <{include[2]}>"
            if LIBTORCH.match(include[2]) and not within(path, MAY_SEE_LIBTORCH):
                yield f"{where} only the worker may include LibTorch"
        elif pure and (name := IMPURE_NAMES.search(COMMENT.sub("", line))):
            yield f"{where} {layer} must not use {name[1]}: time and randomness arrive as arguments"
        elif within(path, ("tests/unit", "tests/sim")) and "sleep_for" in COMMENT.sub("", line):
            yield f"{where} unit tests and simulations do not sleep"


if __name__ == "__main__":
    sources.finish([
        problem
        for path in sources.cxx_files()
        for problem in check(str(path), sources.read(path))
    ])
