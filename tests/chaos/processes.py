"""What processes take while they run: memory, descriptors, threads; and files of a folder."""

import os
import pathlib
import re
import statistics
import threading


def taken(pid):
    """Resident bytes, descriptors and threads of a process; None if it is gone."""
    try:
        status = pathlib.Path(f"/proc/{pid}/status").read_text()
        descriptors = len(os.listdir(f"/proc/{pid}/fd"))
        return (int(re.search(r"VmRSS:\s+(\d+)", status)[1]) * 1024, descriptors,
                int(re.search(r"Threads:\s+(\d+)", status)[1]))
    except (OSError, TypeError):
        return None


class Watch(threading.Thread):
    """Looks every two seconds, from enter to exit. processes(): name -> pid, which may change."""

    def __init__(self, processes, folder):
        super().__init__(daemon=True)
        self.processes, self.folder = processes, folder
        self.leaving, self.rows, self.files = threading.Event(), {}, []

    def run(self):
        while not self.leaving.wait(2):
            for name, pid in self.processes().items():
                row = taken(pid)
                if row:
                    self.rows.setdefault(name, []).append((pid, *row))
            self.files.append(sum(1 for _ in self.folder.iterdir()))

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *exception):
        self.leaving.set()
        self.join()

    def table(self):
        """Medians of each quarter of the time; growth is the last beside the second, since the first is for warming up."""
        lines = [f"{'':12} {'processes':>9} {'MiB by quarters':>31} {'growth':>7} {'descriptors':>11} {'then':>5} "
                 f"{'threads':>7} {'then':>5}"]
        for name, rows in self.rows.items():
            quarter = max(len(rows) // 4, 1)
            quarters = [rows[at * quarter:(at + 1) * quarter] or rows for at in range(4)]
            middle = lambda part, column: statistics.median(row[column] for row in part)
            memory = [middle(part, 1) for part in quarters]
            early, late = quarters[1], quarters[3]
            lines.append(
                f"{name:12} {len({row[0] for row in rows}):9} " + " ".join(f"{bytes_ / 2**20:7.1f}" for bytes_ in memory) +
                f" {100 * (memory[3] / memory[1] - 1):6.1f}% {middle(early, 2):11.0f} {middle(late, 2):5.0f} "
                f"{middle(early, 3):7.0f} {middle(late, 3):5.0f}")
        lines.append(f"files in the spool: {max(self.files, default=0)} at most, {self.files[-1:] or [0]} at the end")
        return "\n".join(lines)
