"""The files that `pa` writes: a picture, a result; and what `pa inspect` says of them and others."""

import struct

import pytest

import tensors
from cluster import INVALID, MODELS, Cluster, pa


@pytest.fixture(scope="module")
def cluster():
    with Cluster(1) as cluster:
        yield cluster


SAMPLE = ["sample", "--model", "digits", "--labels", "0-9", "--count", 21, "--steps", 2]


def test_a_contact_sheet_is_a_png(cluster, tmp_path):
    answer = cluster.pa(*SAMPLE, "--png", tmp_path / "sheet.png")
    assert answer.returncode == 0, answer.stderr
    picture = (tmp_path / "sheet.png").read_bytes()
    assert picture.startswith(b"\x89PNG\r\n\x1a\n")
    width, height = struct.unpack(">II", picture[16:24])
    assert width * height > 21 * 32 * 32  # Enlarged: a sample has 8 x 8 pixels.
    assert list(tmp_path.iterdir()) == [tmp_path / "sheet.png"]


def test_a_result_file_tells_what_was_asked_and_done(cluster, tmp_path):
    answer = cluster.pa(*SAMPLE, "--out", tmp_path / "result")
    assert answer.returncode == 0, answer.stderr
    file = tensors.File(tmp_path / "result")
    assert set(file.metadata) == {"request", "result"}
    assert {name: array.shape for name, array in file.tensors.items()} == {"samples": (21, 1, 8, 8)}
    assert list(tmp_path.iterdir()) == [tmp_path / "result"]
    lines = pa("inspect", tmp_path / "result").stdout.splitlines()
    assert "kind: result" in lines
    assert lines[-1].split(maxsplit=2)[:2] == ["samples", "F32"]


def test_weights_are_recognised():
    lines = pa("inspect", MODELS / "digits" / "digits.safetensors").stdout.splitlines()
    assert lines[1].startswith("kind: weights of family flux")
    assert "  hidden size: 96" in lines


def test_an_image_is_no_file_for_it(tmp_path):
    (tmp_path / "x.png").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(99))
    answer = pa("inspect", tmp_path / "x.png")
    assert answer.returncode == INVALID
    assert f"{tmp_path / 'x.png'}: not a safetensors file" in answer.stderr
