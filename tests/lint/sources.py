"""The repository's own source files, and how the linters report what they find in them."""

import pathlib
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
FOLDERS = ("shared", "coordinator", "worker", "clients", "tests")


def files(*suffixes):
    """Paths, relative to the root, of files with one of these suffixes that git knows or could add."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        cwd=ROOT, check=True, capture_output=True, text=True).stdout
    paths = sorted(pathlib.PurePosixPath(name) for name in listed.split("\0") if name)
    return [path for path in paths if path.suffix in suffixes and (ROOT / path).is_file()]


def cxx_files():
    """C++ files of the five source folders, relative to the root."""
    return [path for path in files(".h", ".cc", ".cu") if path.parts[0] in FOLDERS]


def read(path):
    return (ROOT / path).read_text(encoding="utf-8")


def finish(problems):
    """Prints the problems and exits: 0 if there are none, else 1."""
    for problem in problems:
        print(problem)
    sys.exit(1 if problems else 0)
