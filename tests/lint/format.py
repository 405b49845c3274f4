#!/usr/bin/env python3
"""Every C++ file is as clang-format leaves it. --fix rewrites those that are not.

Releases of clang-format differ in details, so another one than VERSION skips the check (exit code 77).
"""

import re
import shutil
import subprocess
import sys

import sources

VERSION = 14
SKIPPED = 77


def formatter():
    for name in (f"clang-format-{VERSION}", "clang-format"):
        if shutil.which(name):
            told = subprocess.run([name, "--version"], check=True, capture_output=True, text=True).stdout
            if re.search(rf"version {VERSION}\.", told):
                return name
    print(f"clang-format {VERSION} is not installed")
    sys.exit(SKIPPED)


if __name__ == "__main__":
    mode = ["-i"] if "--fix" in sys.argv[1:] else ["--dry-run", "-Werror", "--ferror-limit=1"]
    names = [str(path) for path in sources.cxx_files()]
    if names:
        sys.exit(subprocess.run([formatter(), *mode, *names], cwd=sources.ROOT).returncode and 1)
