"""Runs our Python client, and scripts that need torch, in a Python that has it: PA_PYTHON, or this one."""

import os
import pathlib
import subprocess
import sys

import pytest

from cluster import HANG, ROOT, environment

PYTHON = os.environ.get("PA_PYTHON", sys.executable)


def python(*arguments):
    """Runs a module of the client, or a script."""
    env = {**environment(), "PYTHONPATH": str(ROOT / "clients" / "python")}
    return subprocess.run([PYTHON, "-B", *map(str, arguments)], capture_output=True, text=True, timeout=5 * HANG,
                          check=False, env=env)


def needs(*modules):
    """A mark for tests that are skipped where these modules are missing."""
    return pytest.mark.skipif(python("-c", f"import {', '.join(modules)}").returncode != 0,
                              reason=f"PA_PYTHON names no Python that has {', '.join(modules)}")


def made_by(script, folder):
    """The folder, in which a script beside this one has made its files."""
    made = python(pathlib.Path(__file__).with_name(script), folder)
    assert made.returncode == 0, made.stderr
    return folder
