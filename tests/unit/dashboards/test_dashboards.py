"""The dashboard and the rules are what they say, and ask for metrics that exist."""

import importlib.util
import pathlib
import re
import shutil
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[3]
FOLDER = ROOT / "dashboards"
PROMTOOL = shutil.which("promtool")
needs_promtool = pytest.mark.skipif(PROMTOOL is None, reason="promtool is not installed")


@pytest.fixture(scope="module")
def generate():
    specification = importlib.util.spec_from_file_location("generate", FOLDER / "generate.py")
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


def panels(generate):
    return [one for one in generate.dashboard()["panels"] if one["type"] != "row"]


def queries(generate):
    return [(one["title"], query["expr"]) for one in panels(generate) for query in one["targets"]]


def test_committed_files_are_current_and_name_known_metrics_only(generate):
    assert list(generate.problems()) == []


def test_an_unknown_metric_is_found(generate, monkeypatch):
    monkeypatch.setattr(generate, "known_metrics", lambda: {"up"})
    found = list(generate.problems())
    assert any("queries pa_queue_items, which" in line for line in found)
    assert any(line.startswith("rules.yaml:") for line in found)


def test_check_exits_0(generate):
    assert subprocess.run([sys.executable, "-B", FOLDER / "generate.py", "--check"]).returncode == 0


def test_every_panel_has_title_description_unit_and_place(generate):
    places = set()
    for one in panels(generate):
        assert one["title"] and one["description"].endswith(".")
        assert one["fieldConfig"]["defaults"]["unit"]
        assert one["datasource"]["uid"] == "${datasource}"
        place = one["gridPos"]
        cells = {(x, y) for x in range(place["x"], place["x"] + place["w"])
                 for y in range(place["y"], place["y"] + place["h"])}
        assert place["x"] + place["w"] <= 24 and not cells & places
        places |= cells


def test_every_selector_has_the_matchers_and_every_rate_the_interval(generate):
    for title, query in queries(generate):
        for selector in re.findall(r"\b(?:pa|process)_\w+(\{[^}]*\})?", query):
            assert 'job=~"$job", instance=~"$instance"' in selector, title
        assert query.count("rate(") == query.count("[$__rate_interval]"), title
        for name in re.findall(r"\b(pa_\w+_(?:total|bucket))\{", query):
            assert re.search(rf"rate\({name}\{{", query), f"{title}: a counter without rate"
        if " / " in query:
            assert "> 0)" in query, f"{title}: a denominator that may be 0"


@needs_promtool
def test_queries_are_promql(generate, tmp_path):
    rules = ["groups:", "- name: queries", "  rules:"]
    for i, (_, query) in enumerate(queries(generate)):
        plain = query.replace("$__rate_interval", "5m")
        rules += [f"  - record: query:{i}", f"    expr: '{plain}'"]
    path = tmp_path / "queries.yaml"
    path.write_text("\n".join(rules) + "\n")
    subprocess.run([PROMTOOL, "check", "rules", path], check=True)


@needs_promtool
def test_rules_fire_when_they_should():
    subprocess.run([PROMTOOL, "test", "rules", "rules_test.yaml"], cwd=FOLDER / "prometheus",
                   check=True)
