#!/usr/bin/env python3
"""Who links LibTorch: the worker, and no more of it than libtorch_cpu and libc10; nobody else.

Usage: linkage.py BUILD_DIR
"""

import pathlib
import re
import subprocess
import sys

import sources

LIBTORCH = re.compile(r"lib(torch|c10|caffe2|gomp)[^/ ]*\.so")


def run(*command):
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def check(build):
    for name in ("pa", "pa-coordinator", "pa-worker"):
        if not (build / "bin" / name).exists():
            yield f"bin/{name} is not built"
            return

    for name in ("pa", "pa-coordinator"):
        loaded = run("ldd", build / "bin" / name)
        for line in loaded.splitlines():
            if LIBTORCH.search(line):
                yield f"bin/{name} loads {line.split()[0]}"

    needed = re.findall(r"\(NEEDED\).*\[(.*)\]", run("readelf", "--dynamic", "--wide", build / "bin/pa-worker"))
    torch_libraries = {name for name in needed if LIBTORCH.match(name)}
    if torch_libraries != {"libtorch_cpu.so", "libc10.so"}:
        yield f"bin/pa-worker links {sorted(torch_libraries)}, not libc10.so and libtorch_cpu.so alone"

    archives = sorted((build / "clients").rglob("*.a")) + sorted((build / "shared").rglob("*.a"))
    for archive in archives:
        if re.search(r"\b(at|c10|torch)::", run("nm", "--demangle", "--undefined-only", archive)):
            yield f"{archive.relative_to(build)} uses LibTorch"


if __name__ == "__main__":
    sources.finish(list(check(pathlib.Path(sys.argv[1]))))
