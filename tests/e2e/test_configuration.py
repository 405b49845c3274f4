"""The daemons' configuration files are checked before anything starts."""

import subprocess

import pytest

from cluster import BIN, DONE, HANG, ROOT, USAGE

DAEMONS = ["pa-coordinator", "pa-worker"]


def daemon(program, *arguments):
    return subprocess.run(
        [BIN / program, *map(str, arguments)], capture_output=True, text=True, timeout=HANG, check=False
    )


@pytest.mark.parametrize("program", [*DAEMONS, "pa"])
def test_programs_tell_their_version(program):
    answer = daemon(program, "--version")
    assert answer.returncode == DONE
    assert answer.stdout.startswith(f"{program} ")


@pytest.mark.parametrize("program", DAEMONS)
def test_the_example_is_good(program):
    path = ROOT / "config" / f"{program.removeprefix('pa-')}.yaml"
    answer = daemon(program, "--config", path, "--check-config")
    assert (answer.returncode, answer.stdout) == (DONE, f"{path}: ok\n")


@pytest.mark.parametrize("check", [["--check-config"], []], ids=["only checked", "started"])
@pytest.mark.parametrize("program", DAEMONS)
def test_every_mistake_has_its_place(program, check, tmp_path):
    path = tmp_path / "config.yaml"
    path.write_text("htttp:\n  port: 1\nhttp:\n  port: many\nlimits:\n  window_bytes: 1\n")
    answer = daemon(program, "--config", path, *check)
    assert answer.returncode == USAGE
    unknown, wrong_type, out_of_range = answer.stderr.splitlines()
    assert unknown.startswith(f"{path}:1:1: there is no key 'htttp'; did you mean 'http'?")
    assert wrong_type.startswith(f"{path}:4:9: http.port: expected an integer")
    assert out_of_range.startswith(f"{path}:6:17: limits.window_bytes: expected ")


@pytest.mark.parametrize("program", DAEMONS)
def test_broken_yaml_has_its_place(program, tmp_path):
    path = tmp_path / "config.yaml"
    path.write_text("http: {port: 1\nlog: [\n")
    answer = daemon(program, "--config", path, "--check-config")
    assert answer.returncode == USAGE
    assert answer.stderr.startswith(f"{path}:")


@pytest.mark.parametrize("program", DAEMONS)
def test_a_file_that_is_not_there_is_named(program, tmp_path):
    answer = daemon(program, "--config", tmp_path / "none.yaml", "--check-config")
    assert answer.returncode == USAGE
    assert f"{tmp_path / 'none.yaml'}: " in answer.stderr


@pytest.mark.parametrize("program", DAEMONS)
def test_overrides_are_checked_too(program):
    answer = daemon(program, "--set", "http.port=99999", "--check-config")
    assert answer.returncode == USAGE
    assert "http.port" in answer.stderr
