#!/usr/bin/env python3
"""Writes the Grafana dashboard, overview.json. Standard library only.

    generate.py           writes the file
    generate.py --check   exits 1 if the file is not what would be written, or if a query of the
                          dashboard or of prometheus/*.yaml names a metric that docs/metrics.md
                          does not have

Rules kept by construction: one variable `datasource`, variables `job`, `instance` and `device`
that reload when the time range changes, their matchers in every query, `$__rate_interval` in every
rate, and a title, a description and a unit on every panel. A ratio is a quotient of sums, never a
mean of ratios, and its denominator is guarded by `> 0`.
"""

import json
import pathlib
import re
import sys

HERE = pathlib.Path(__file__).resolve().parent
OUTPUT = HERE / "overview.json"
METRICS = HERE.parent / "docs" / "metrics.md"
RULES = HERE / "prometheus"

DATASOURCE = {"type": "prometheus", "uid": "${datasource}"}
EVERYWHERE = 'job=~"$job", instance=~"$instance"'
STATE_COLOURS = {"live": "green", "suspect": "yellow", "draining": "blue", "lost": "red"}
OUTCOME_COLOURS = {"ok": "green", "error": "red", "cancelled": "blue", "deadline": "orange",
                   "rejected": "yellow"}


# ------------------------------------------------------------------------------------ queries

def series(name, *matchers):
    """A selector with the matchers that every query has."""
    return f"{name}{{{', '.join((EVERYWHERE, *matchers))}}}"


def of_device(name, *matchers):
    return series(name, 'device=~"$device"', *matchers)


def rate(selector):
    return f"rate({selector}[$__rate_interval])"


def quantile(q, name, by=()):
    labels = ", ".join(("le", *by))
    selector = of_device(f"{name}_bucket") if "device" in by else series(f"{name}_bucket")
    return f"histogram_quantile({q}, sum by ({labels}) ({rate(selector)}))"


LIVE = series("pa_worker_state", 'state="live"')
LOUD = series("pa_log_messages_total", 'level=~"warning|error"')
COMPLETED = f"sum by (device) ({rate(of_device('pa_device_completed_items_total'))})"
ACTUAL_SHARE = (f"{COMPLETED} / ignoring (device) group_left () "
                f"(sum({rate(series('pa_device_completed_items_total'))}) > 0)")
PLANNED_SHARE = f"max by (device) ({of_device('pa_plan_share_ratio')})"


# ------------------------------------------------------------------------------------- panels

def target(expression, legend):
    return {"datasource": DATASOURCE, "expr": expression, "legendFormat": legend}


def colours(by_name):
    return [{"matcher": {"id": "byName", "options": name},
             "properties": [{"id": "color", "value": {"mode": "fixed", "fixedColor": colour}}]}
            for name, colour in by_name.items()]


def panel(kind, title, description, unit, targets, *, options, custom=None, overrides=(),
          thresholds=None, **defaults):
    field = {"unit": unit, "noValue": "No traffic", **defaults}
    if custom:
        field["custom"] = custom
    if thresholds:
        field["thresholds"] = {"mode": "absolute", "steps": [
            {"color": colour, "value": value} for value, colour in thresholds]}
    return {
        "type": kind,
        "title": title,
        "description": description,
        "datasource": DATASOURCE,
        "targets": [{**one, "refId": chr(ord("A") + i)} for i, one in enumerate(targets)],
        "fieldConfig": {"defaults": field, "overrides": list(overrides)},
        "options": options,
    }


def tile(title, description, unit, expression, thresholds=None):
    return panel("stat", title, description, unit, [target(expression, "")],
                 options={"reduceOptions": {"calcs": ["lastNotNull"]}, "colorMode": "value",
                          "graphMode": "area"},
                 thresholds=thresholds)


def graph(title, description, unit, *targets, stacked=False, by_name=None, **defaults):
    custom = {"fillOpacity": 20 if stacked else 0, "showPoints": "never",
              "stacking": {"mode": "normal" if stacked else "none"}}
    return panel("timeseries", title, description, unit, targets,
                 options={"tooltip": {"mode": "multi", "sort": "desc"},
                          "legend": {"displayMode": "list", "placement": "bottom"}},
                 custom=custom, overrides=colours(by_name or {}), **defaults)


def errors_ratio():
    failed = series("pa_requests_total", 'outcome=~"error|deadline"')
    return (f"(sum({rate(failed)}) or vector(0)) / "
            f"(sum({rate(series('pa_requests_total'))}) > 0)")


OVERVIEW = [
    tile("Live workers", "Workers that beat in time (pa_worker_state).", "none",
         f"sum({LIVE}) or vector(0)",
         [(None, "red"), (1, "green")]),
    tile("Samples a second", "Finished, over all devices (pa_device_completed_items_total).", "short",
         f"sum({rate(series('pa_device_completed_items_total'))}) or vector(0)"),
    tile("Requests under way", "Admitted and not finished (pa_inflight_requests).", "none",
         f"sum({series('pa_inflight_requests')})"),
    tile("Samples waiting", "Of admitted requests, without a worker (pa_queue_items).", "none",
         f"sum({series('pa_queue_items')})"),
    tile("Failed requests", "Errors and missed deadlines as a part of all that ended "
         "(pa_requests_total).", "percentunit", errors_ratio(),
         [(None, "green"), (0.01, "yellow"), (0.05, "red")]),
    tile("Request time, p95", "From admission to the last sample (pa_request_duration_seconds).",
         "s", quantile(0.95, "pa_request_duration_seconds")),
]

DEVICES = [
    graph("Samples a second by device", "Finished first by this device "
          "(pa_device_completed_items_total).", "short", target(COMPLETED, "{{device}}"),
          stacked=True),
    graph("Steps a second by device", "Sampler steps that the worker did, over all samples "
          "(pa_device_steps_total).", "short",
          target(f"sum by (device) ({rate(of_device('pa_device_steps_total'))})", "{{device}}")),
    graph("Busy", "Part of the time that the device worked, over all phases "
          "(pa_device_busy_seconds_total).", "percentunit",
          target(f"sum by (device) ({rate(of_device('pa_device_busy_seconds_total'))})",
                 "{{device}}"), min=0, max=1),
    graph("Network pass, p95", "One pass over all rows in it (pa_step_duration_seconds).", "s",
          target(quantile(0.95, "pa_step_duration_seconds", ("device",)), "{{device}}")),
    graph("Worker states", "Workers in each state (pa_worker_state).", "none",
          target(f"sum by (state) ({of_device('pa_worker_state')})", "{{state}}"),
          stacked=True, by_name=STATE_COLOURS),
    graph("Last heard of", "Since anything came from a worker "
          "(pa_worker_last_heartbeat_timestamp_seconds). A worker is suspect after 1.5 s and lost "
          "after 3 s, unless configured otherwise.", "s",
          target("time() - max by (device) "
                 f"({of_device('pa_worker_last_heartbeat_timestamp_seconds')} > 0)", "{{device}}")),
]

SCHEDULING = [
    graph("Planned and actual share", "What the last plan gave a device (pa_plan_share_ratio), and "
          "its part of what was finished (pa_device_completed_items_total).", "percentunit",
          target(PLANNED_SHARE, "{{device}} planned"), target(ACTUAL_SHARE, "{{device}} actual"),
          min=0, max=1),
    graph("Actual less planned share", "Above 0: the device did more than planned "
          "(pa_device_completed_items_total, pa_plan_share_ratio).", "percentunit",
          target(f"({ACTUAL_SHARE}) - on (device) {PLANNED_SHARE}", "{{device}}")),
    graph("Shards given to others", "By why (pa_chunk_retries_total).", "short",
          target(f"sum by (reason) ({rate(series('pa_chunk_retries_total'))})", "{{reason}}"),
          stacked=True),
    graph("Samples that changed devices", "A second, by the device they left: running ones that were moved "
          "(pa_device_moved_items_total), and those begun again elsewhere since it was stuck "
          "(pa_device_hedged_items_total).", "short",
          target(f"sum by (device) ({rate(of_device('pa_device_moved_items_total'))})",
                 "{{device}} moved"),
          target(f"sum by (device) ({rate(of_device('pa_device_hedged_items_total'))})",
                 "{{device}} stuck")),
    graph("Waiting for a device, p95", "From admission to the first sample under way "
          "(pa_queue_wait_seconds).", "s",
          target(quantile(0.95, "pa_queue_wait_seconds"), "p95")),
]

REQUESTS = [
    graph("Requests a second by outcome", "pa_requests_total.", "reqps",
          target(f"sum by (outcome) ({rate(series('pa_requests_total'))})", "{{outcome}}"),
          stacked=True, by_name=OUTCOME_COLOURS),
    graph("Request time", "From admission to the last sample (pa_request_duration_seconds).", "s",
          *(target(quantile(q, "pa_request_duration_seconds"), f"p{int(q * 100)}")
            for q in (0.5, 0.95, 0.99))),
    graph("Bytes to and from workers", "As the coordinator sees it (pa_transfer_bytes_total).",
          "Bps", target("sum by (direction, kind) "
                        f"({rate(of_device('pa_transfer_bytes_total'))})",
                        "{{direction}} {{kind}}")),
    graph("Warnings and errors in logs", "A second, by program "
          "(pa_log_messages_total).", "short",
          target("sum by (job, level) "
                 f"({rate(LOUD)})",
                 "{{job}} {{level}}")),
    graph("Memory", "Resident memory of each process (process_resident_memory_bytes), and what "
          "new tensors could take on each device (pa_memory_free_bytes).", "bytes",
          target(f"max by (job, instance) ({series('process_resident_memory_bytes')})",
                 "{{job}} {{instance}}"),
          target(f"max by (device) ({of_device('pa_memory_free_bytes')})",
                 "{{device}} free")),
]


# ---------------------------------------------------------------------------------- dashboard

def variable(name, label, query):
    return {"type": "query", "name": name, "label": label, "datasource": DATASOURCE,
            "query": {"query": query, "refId": name}, "definition": query,
            "refresh": 2, "sort": 1, "multi": True, "includeAll": True, "allValue": ".+",
            "current": {"text": ["All"], "value": ["$__all"]}}


def laid_out():
    """Every panel with its place in Grafana's 24 columns, under a title for each group."""
    panels = []
    y = 0
    for title, group, width, height in (("Overview", OVERVIEW, 4, 4), ("Devices", DEVICES, 12, 8),
                                        ("Scheduling", SCHEDULING, 12, 8),
                                        ("Requests and network", REQUESTS, 12, 8)):
        panels.append({"type": "row", "title": title, "collapsed": False, "panels": [],
                       "gridPos": {"x": 0, "y": y, "w": 24, "h": 1}})
        y += 1
        columns = 24 // width
        for i, one in enumerate(group):
            panels.append({**one, "gridPos": {"x": i % columns * width,
                                              "y": y + i // columns * height,
                                              "w": width, "h": height}})
        y += -(-len(group) // columns) * height
    return [{"id": i, **one} for i, one in enumerate(panels, start=1)]


def dashboard():
    return {
        "uid": "parallelanything-overview",
        "title": "ParallelAnything",
        "description": "Generated by dashboards/generate.py.",
        "tags": ["parallelanything"],
        "schemaVersion": 39,
        "editable": False,
        "graphTooltip": 1,
        "refresh": "10s",
        "time": {"from": "now-1h", "to": "now"},
        "timezone": "browser",
        "templating": {"list": [
            {"type": "datasource", "name": "datasource", "label": "Data source",
             "query": "prometheus", "refresh": 1, "current": {}},
            variable("job", "Job", "label_values(pa_build_info, job)"),
            variable("instance", "Instance",
                     'label_values(pa_build_info{job=~"$job"}, instance)'),
            variable("device", "Device",
                     'label_values({__name__=~"pa_device_info|pa_worker_state", job=~"$job"}, '
                     'device)'),
        ]},
        "links": [{"type": "dashboards", "title": "ParallelAnything", "tags": ["parallelanything"],
                   "asDropdown": True}],
        "panels": laid_out(),
    }


# ------------------------------------------------------------------------------------- checks

def known_metrics():
    """Names of the series that the programs export, from docs/metrics.md."""
    names = {"up"}
    for line in METRICS.read_text(encoding="utf-8").splitlines():
        row = re.match(r"\| `(\w+)` \| (\w+) \|", line)
        if row and row[2] == "histogram":
            names |= {f"{row[1]}_{suffix}" for suffix in ("bucket", "sum", "count")}
        elif row:
            names.add(row[1])
    return names


def named_metrics(expression):
    """Names of our metrics in a query, recorded ones (with colons) left out."""
    return set(re.findall(r"(?<![\w:])(?:pa|process)_\w+(?![\w:])", expression))


def problems():
    known = known_metrics()
    for one in laid_out():
        for query in one.get("targets", ()):
            for name in sorted(named_metrics(query["expr"]) - known):
                yield f"panel '{one['title']}' queries {name}, which docs/metrics.md does not have"
        described = named_metrics(one.get("description", ""))
        queried = {re.sub(r"_bucket$", "", name) for query in one.get("targets", ())
                   for name in named_metrics(query["expr"])}
        if described != queried:
            yield f"panel '{one['title']}' describes {described}, but queries {queried}"
    for path in sorted(RULES.glob("*.yaml")):
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
            if not line.lstrip().startswith("#"):
                for name in sorted(named_metrics(line) - known):
                    yield f"{path.name}:{number}: {name} is not in docs/metrics.md"
    if OUTPUT.read_text(encoding="utf-8") != text():
        yield "overview.json is not what generate.py writes; run dashboards/generate.py"


def text():
    return json.dumps(dashboard(), indent=2) + "\n"


def main(arguments):
    if arguments == ["--check"]:
        found = list(problems())
        print("\n".join(found), end="\n" if found else "")
        return 1 if found else 0
    if arguments:
        print(__doc__)
        return 2
    OUTPUT.write_text(text(), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
