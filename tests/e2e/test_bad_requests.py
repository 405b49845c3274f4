"""What is wrong with a request is said before anything runs: which field, and what was expected."""

import json
import re

import numpy as np
import pytest

import tensors
from cluster import DONE, INVALID, UNAVAILABLE, USAGE, Cluster

LABELLED = {
    "op": "sample", "model": "digits", "samples": 2, "labels": ["1", "2"], "schedule": {"name": "simple", "steps": 2}
}
CONDITIONED = {**LABELLED, "labels": None, "positive": [{"tensors": "cond.0"}]}
GIVEN_NOISE = {**LABELLED, "noise": "given"}


@pytest.fixture(scope="module")
def cluster():
    with Cluster(1) as cluster:
        yield cluster
        done = [worker["samples_done"] for worker in cluster.workers().values()]
        assert done == [0], "a bad request was run"


def zeros(*shape):
    return np.zeros(shape, np.float32)


def refusal(answer, code=INVALID):
    """The one line that `pa` says, after checking that it is one, and the exit code."""
    assert answer.returncode == code, answer.stderr
    assert answer.stdout == ""
    (line,) = answer.stderr.splitlines()
    return line.removeprefix("pa: ")


def write(path, changes, base=LABELLED, **arrays):
    document = {key: value for key, value in {**base, **changes}.items() if value is not None}
    return tensors.write_request(path, document, **arrays)


FIELDS = {
    "a field nobody knows": ({"sampels": 3}, r"/sampels: .*did you mean 'samples'"),
    "a field inside a field": ({"schedule": {"name": "simple", "step": 2}}, r"/schedule/step: .*did you mean 'steps'"),
    "another type": ({"samples": "two"}, r"/samples: expected an integer .*found the text 'two'"),
    "a number out of range": ({"samples": 0}, r"/samples: expected an integer from 1 .*found 0"),
    "a negative deadline": ({"deadline_seconds": -1}, r"/deadline_seconds: expected a number from 0"),
    "no model": ({"model": None}, r"/model: missing"),
    "a sampler nobody knows": ({"sampler": {"name": "eular"}}, r"/sampler/name: .*did you mean 'euler'"),
    "an option it has not": (
        {"sampler": {"name": "euler", "options": {"churn": 1}}}, r"/sampler/options/churn: .*did you mean 's_churn'"
    ),
    "a scheduler nobody knows": (
        {"schedule": {"name": "simpel", "steps": 2}}, r"/schedule/name: .*did you mean 'simple'"
    ),
    "both schedule and sigmas": ({"sigmas": [1, 0]}, r"/schedule: expected exactly one .*found both"),
    "neither of them": ({"schedule": None}, r"/schedule: expected exactly one .*found neither"),
    "sigmas that rise": ({"schedule": None, "sigmas": [0.5, 0.7, 0]}, r"/sigmas/1: expected at most 0.5.*found 0.7"),
    "a label nobody knows": ({"labels": ["1", "seven"]}, r"/labels/1: .*no label 'seven'; there are: 0, 1"),
    "too few labels": ({"labels": ["1"]}, r"/labels: expected one label a sample, 2, found 1"),
    "no conditioning": ({"labels": None}, r"/positive: .*give 'positive' or 'labels'"),
    "another latent": ({"latent_shape": [1, 8, 9]}, r"/latent_shape: .*\[1, 8, 9\]; model 'digits' takes \[1, 8, 8\]"),
    "a LoRA nobody knows": ({"loras": [{"name": "x", "strength": 1}]}, r"/loras/0/name: .*no LoRA 'x'"),
    "noise that is not there": ({"noise": "given"}, r"/noise: .*no tensor 'noise'"),
    "a request for another command": ({"op": "forward"}, r"/op: .*use pa forward"),
}


@pytest.mark.parametrize(("changes", "expected"), FIELDS.values(), ids=FIELDS)
def test_a_wrong_field_is_named(cluster, tmp_path, changes, expected):
    answer = cluster.pa("sample", "--request", write(tmp_path / "request", changes))
    assert re.match(expected, refusal(answer))


TENSORS = {
    "rows for other samples": (
        GIVEN_NOISE, {"noise": zeros(3, 1, 8, 8)}, r"/tensors/noise: .*\[3, 1, 8, 8\]; expected F32 \[2, 1, 8, 8\]"
    ),
    "noise where none is asked for": (LABELLED, {"noise": zeros(2, 1, 8, 8)}, r"/noise: .*expected 'given'"),
    "nobody's tensor": (LABELLED, {"stuff": zeros(2)}, r"/tensors/stuff: nothing .*uses tensor 'stuff'"),
    "a condition of no polarity": (LABELLED, {"cond__3__y": zeros(1, 32)}, r"/tensors/cond.3.y: nothing .*uses"),
    "a condition of another width": (
        CONDITIONED, {"cond__0__context": zeros(1, 2, 33), "cond__0__y": zeros(1, 32)},
        r"/tensors/cond.0.context: .*\[1, 2, 33\]; expected F32 rows of \[any, 32\], 1 or 2",
    ),
    "an input that the model has not": (
        CONDITIONED, {"cond__0__contxt": zeros(1, 2, 32), "cond__0__y": zeros(1, 32)},
        r"/tensors/cond.0.contxt: .*did you mean 'context'",
    ),
    "half a condition": (
        CONDITIONED, {"cond__0__context": zeros(1, 2, 32)},
        r"/positive/0/tensors: model 'digits' needs the tensor 'cond.0.y', F32 rows of \[32\]",
    ),
}


@pytest.mark.parametrize(("base", "arrays", "expected"), TENSORS.values(), ids=TENSORS)
def test_a_wrong_tensor_is_named(cluster, tmp_path, base, arrays, expected):
    answer = cluster.pa("sample", "--request", write(tmp_path / "request", {}, base, **arrays))
    assert re.match(expected, refusal(answer))


def test_a_tensor_of_another_dtype_is_named(cluster, tmp_path):
    path = tensors.write(tmp_path / "r", {"noise": np.zeros((2, 1, 8, 8))}, {"request": json.dumps(GIVEN_NOISE)})
    line = refusal(cluster.pa("sample", "--request", path))
    assert re.match(r"/tensors/noise: .*F64 .*expected F32 \[2, 1, 8, 8\]", line)


def test_a_forward_pass_needs_its_timesteps(cluster, tmp_path):
    path = write(tmp_path / "request", {}, {"op": "forward", "model": "digits", "samples": 2}, x=zeros(2, 1, 8, 8))
    line = refusal(cluster.pa("forward", "--request", path))
    assert re.match(r"/tensors/timestep: .*needs the tensor 'timestep' \[N\]", line)


def test_a_model_that_nobody_has_is_unavailable(cluster, tmp_path):
    answer = cluster.pa("sample", "--request", write(tmp_path / "request", {"model": "digit"}))
    assert re.match(r"/model: .*'digit'; did you mean 'digits'", refusal(answer, UNAVAILABLE))


def whole(path):
    return write(path, {}, GIVEN_NOISE, noise=zeros(2, 1, 8, 8)).read_bytes()


FILES = {
    "an empty file": (lambda path: b"", "not a safetensors file"),
    "a text": (lambda path: b"Dear cluster, draw me a digit.\n" * 9, "not a safetensors file"),
    "one cut in its header": (lambda path: whole(path)[:40], "cut short"),
    "one cut in its data": (lambda path: whole(path)[:-10], "tensor 'noise' lies at bytes 0 to 512"),
}


@pytest.mark.parametrize(("content", "expected"), FILES.values(), ids=FILES)
def test_a_file_that_is_no_request_is_named(cluster, tmp_path, content, expected):
    path = tmp_path / "request"
    path.write_bytes(content(tmp_path / "whole"))
    line = refusal(cluster.pa("sample", "--request", path))
    assert line.startswith(f"{path}: ")
    assert expected in line


def test_a_file_that_is_not_there_is_named(cluster, tmp_path):
    line = refusal(cluster.pa("sample", "--request", tmp_path / "none"))
    assert line == f"{tmp_path / 'none'}: cannot be opened: No such file or directory"


def test_a_folder_is_no_request(cluster, tmp_path):
    assert refusal(cluster.pa("sample", "--request", tmp_path)) == f"{tmp_path}: not a regular file"


def test_a_safetensors_file_without_a_request_is_none(cluster, tmp_path):
    path = tensors.write(tmp_path / "weights", {"x": zeros(2)})
    assert re.search("expected .*metadata has the key 'request'", refusal(cluster.pa("sample", "--request", path)))


@pytest.mark.parametrize(
    ("text", "expected"),
    [('{"op": "sample",', "not JSON: .*line 1, column 17"), ("[1]", "expected an object, found a list")],
)
def test_a_request_is_a_json_object(cluster, tmp_path, text, expected):
    path = tensors.write(tmp_path / "request", {}, {"request": text})
    assert re.search(expected, refusal(cluster.pa("sample", "--request", path)))


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [(["--bogus"], "--bogus"), (["--model", "digits", "--count", "many"], "--count"), (["--steps"], "--steps")],
)
def test_a_wrong_command_line_is_a_matter_of_usage(cluster, arguments, expected):
    answer = cluster.pa("sample", *arguments)
    assert answer.returncode == USAGE
    assert expected in answer.stderr
    assert "--help" in answer.stderr


def test_options_name_the_fields_they_set(cluster):
    line = refusal(cluster.pa("sample", "--model", "digits", "--labels", "0-9", "--set", "sampler.nam=euler"))
    assert re.match(r"/sampler/nam: .*did you mean 'name'", line)


def test_a_good_request_would_be_taken(cluster, tmp_path):
    path = write(tmp_path / "request", {}, GIVEN_NOISE, noise=zeros(2, 1, 8, 8))
    answer = cluster.pa("plan", "--request", path)
    assert answer.returncode == DONE, answer.stderr
