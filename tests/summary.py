#!/usr/bin/env python3
"""Counts individual test cases of CTest runs and prints the summary line.

Usage: summary.py BUILD_DIR... [--failed STAGE]...

For every build folder reads test-results/ctest.xml, which names the CTest entries, and for each of
them test-results/NAME.xml, where GoogleTest or pytest says what became of its cases. An entry without
such a file is one case; one that failed although all of its cases passed (a crash, a leak found at
the end, a time limit) counts one failure more. STAGE is something that failed and was no test, a
build for instance: one failure.

Prints the names of failed cases, then `N passed, N failed[, N skipped]`. Exit code 1 if any failed,
or if nothing ran.
"""

import argparse
import pathlib
import sys
import xml.etree.ElementTree as ElementTree


class Tally:
    def __init__(self):
        self.passed, self.skipped, self.failed = 0, 0, []

    def add(self, outcome, name):
        if outcome == "failed":
            self.failed.append(name)
        elif outcome == "skipped":
            self.skipped += 1
        else:
            self.passed += 1

    def line(self):
        skipped = f", {self.skipped} skipped" if self.skipped else ""
        return f"{self.passed} passed, {len(self.failed)} failed{skipped}"


def outcome_of(case):
    """What a JUnit <testcase> of GoogleTest, pytest or CTest says: passed, failed or skipped."""
    if case.find("failure") is not None or case.find("error") is not None:
        return "failed"
    if case.find("skipped") is not None or case.get("status") in ("notrun", "disabled"):
        return "skipped"
    return "passed"


def cases_in(path):
    """The (name, outcome) of every case in a JUnit file; none if it is missing or cut short."""
    try:
        root = ElementTree.parse(path).getroot()
    except (FileNotFoundError, ElementTree.ParseError):
        return []
    return [(f"{case.get('classname')}.{case.get('name')}", outcome_of(case)) for case in root.iter("testcase")]


def count(build, tally):
    results = build / "test-results"
    for entry in ElementTree.parse(results / "ctest.xml").getroot().iter("testcase"):
        name, outcome = entry.get("name"), outcome_of(entry)
        label = f"{build.name}: {name}"
        cases = cases_in(results / f"{name}.xml")
        for case, case_outcome in cases:
            tally.add(case_outcome, f"{label}: {case}")
        if not cases or (outcome == "failed" and all(result != "failed" for _, result in cases)):
            tally.add(outcome, label)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("builds", nargs="*", type=pathlib.Path)
    parser.add_argument("--failed", action="append", default=[])
    arguments = parser.parse_args()

    tally = Tally()
    for build in arguments.builds:
        count(build, tally)
    for stage in arguments.failed:
        tally.add("failed", stage)
    for name in tally.failed:
        print(f"FAILED {name}")
    print(tally.line())
    sys.exit(1 if tally.failed or not tally.passed + tally.skipped else 0)
