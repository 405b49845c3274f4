"""Previews of unfinished samples, and samples that cannot be finished."""

import struct

import numpy as np
import pytest

import tensors
from cluster import DONE, INTERNAL, SOME_FAILED, Cluster, Result

SLOW = "device=cpu,sim=40ms+5ms"  # So that previews are made, each interval anew.


@pytest.fixture(scope="module")
def cluster():
    with Cluster([f"name=a,{SLOW}", f"name=b,{SLOW}"]) as cluster:
        yield cluster


def png_size(path):
    head = path.read_bytes()[:24]
    assert head.startswith(b"\x89PNG")
    return struct.unpack(">II", head[16:24])


def test_previews_of_every_sample_come_while_they_run(cluster, tmp_path):
    run = cluster.start_digits(4, "--steps", 20, "--previews", tmp_path)
    assert run.end()[0] == DONE, run.said()
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == [f"sample-000{i}.png" for i in range(4)]
    assert {png_size(path) for path in tmp_path.iterdir()} == {(8, 8)}


def test_no_previews_unless_asked_for(cluster, tmp_path):
    cluster.digits(2, "--steps", 5)
    assert not list(tmp_path.iterdir())


def test_a_folder_that_is_not_there_is_refused(cluster, tmp_path):
    answer = cluster.pa("sample", "--model", "digits", "--labels", "1", "--previews", tmp_path / "none")
    assert "there is no directory" in answer.stderr


def broken_request(path, broken):
    """Three digits, some of which start from what is no number."""
    latent = np.zeros((3, 1, 8, 8), np.float32)
    latent[broken, 0, 4, 4] = np.nan
    document = {
        "op": "sample", "model": "digits", "samples": 3, "labels": ["1", "2", "3"], "seed": 5,
        "schedule": {"name": "simple", "steps": 8, "denoise": 0.8},
    }
    return tensors.write_request(path, document, latent=latent)


def test_a_sample_that_is_no_number_fails_alone(cluster, tmp_path):
    run = cluster.start("--request", broken_request(tmp_path / "request", [1]))
    code, _, err = run.end()
    assert code == SOME_FAILED
    assert "sample 1 on" in err and "not finite: at step 1 of 8" in err
    result = Result(run.out)
    errors = [sample.get("error") for sample in result.report["samples"]]
    assert errors[0] is None and errors[2] is None
    assert "not finite: at step 1 of 8" in errors[1]["message"]
    assert np.isfinite(result.values[[0, 2]]).all() and result.values[[0, 2]].any(axis=(1, 2, 3)).all()
    assert not result.values[1].any()


def test_a_request_of_which_nothing_is_left_fails_by_name(cluster, tmp_path):
    run = cluster.start("--request", broken_request(tmp_path / "request", [0, 1, 2]))
    code, _, err = run.end()
    assert code == INTERNAL
    assert "sample 0 on" in err and "not finite" in err
