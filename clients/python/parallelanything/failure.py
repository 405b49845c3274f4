"""Errors that a user can mend, and how a command ends with them."""

import os
import sys
import warnings

DONE, INTERNAL, USAGE, INVALID = 0, 1, 2, 3  # As pa's exit codes.


class Failure(Exception):
    """What is wrong, where, and what was expected."""


def run(command):
    """Runs a command, which takes nothing; its exit code. A Failure is told on standard error."""
    os.environ.setdefault("HF_HUB_OFFLINE", "1")  # Everything is in local folders; nothing is fetched.
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ.setdefault("DIFFUSERS_VERBOSITY", "error")
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    # diffusers renames an argument that the versions before need.
    warnings.filterwarnings("ignore", category=FutureWarning, module="diffusers")
    try:
        command()
    except Failure as failure:
        print(f"{os.path.basename(sys.argv[0])}: {failure}", file=sys.stderr)
        return INVALID
    return DONE
