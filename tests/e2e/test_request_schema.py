"""docs/request.schema.json judges the corpus of requests as the parser does (tests/unit/request)."""

import json
import os
import pathlib

import pytest

jsonschema = pytest.importorskip("jsonschema", reason="Debian: python3-jsonschema")

ROOT = pathlib.Path(os.environ.get("PA_SOURCE_DIR", pathlib.Path(__file__).parents[2]))
CORPUS = ROOT / "tests" / "fixtures" / "requests"
SCHEMA = json.loads((ROOT / "docs" / "request.schema.json").read_text())


def requests(folder):
    return sorted((CORPUS / folder).glob("*.json"), key=lambda path: path.name)


def is_valid(path):
    document = json.loads(path.read_text(encoding="utf-8"))
    return jsonschema.Draft202012Validator(SCHEMA).is_valid(document)


def test_the_schema_is_one():
    jsonschema.Draft202012Validator.check_schema(SCHEMA)


@pytest.mark.parametrize("path", requests("good"), ids=lambda path: path.stem)
def test_accepts_good_requests(path):
    assert is_valid(path)


@pytest.mark.parametrize("path", requests("bad"), ids=lambda path: path.stem)
def test_refuses_bad_requests(path):
    assert not is_valid(path)


@pytest.mark.parametrize("path", requests("beyond_schema"), ids=lambda path: path.stem)
def test_leaves_to_the_parser_what_a_schema_cannot_say(path):
    assert is_valid(path)
