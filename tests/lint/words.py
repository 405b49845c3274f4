#!/usr/bin/env python3
"""What is not done is an issue, not a comment: no such markers in any text file."""

import re

import sources

MARKER = re.compile(r"\b(TO" r"DO|FIX" r"ME|XX" r"X)\b")
TEXT = (".h", ".cc", ".cu", ".py", ".sh", ".cmake", ".txt", ".yaml", ".yml", ".json", ".md", "")

if __name__ == "__main__":
    problems = []
    for path in sources.files(*TEXT):
        try:
            lines = sources.read(path).splitlines()
        except UnicodeDecodeError:
            continue
        problems += [
            f"{path}:{number}: {marker[1]}"
            for number, line in enumerate(lines, start=1)
            if (marker := MARKER.search(line))
        ]
    sources.finish(problems)
