# SPDX-License-Identifier: Apache-2.0
"""What became of each arrival, and the file of it that the clients leave for load.py.

    {"name", "due", "sent", "accepted", "done", "fault"}   a line per arrival; seconds from the start, null: not reached
    {"http_failures": [{"method", "name", "error", "count"}]}   the last line
"""

import json
from dataclasses import asdict, dataclass
from typing import Optional


@dataclass
class Entry:
    name: str
    due: float
    sent: Optional[float] = None
    accepted: Optional[float] = None
    done: Optional[float] = None  # its result is here and right
    fault: Optional[str] = None  # why it never will be


class Ledger:
    def __init__(self):
        self.entries = []

    def open(self, name, due):
        self.entries.append(Entry(name, due))
        return self.entries[-1]

    def is_settled(self):
        return all(entry.done is not None or entry.fault for entry in self.entries)

    def give_up(self, fault):
        """Closes what is open."""
        for entry in self.entries:
            if entry.done is None and not entry.fault:
                entry.fault = fault

    def write(self, path, http_failures):
        with open(path, "w", encoding="utf-8") as file:
            for entry in self.entries:
                file.write(json.dumps(asdict(entry)) + "\n")
            file.write(json.dumps({"http_failures": http_failures}) + "\n")


def read(path):
    """(entries, http_failures); a file without its last line is that of clients who did not end well."""
    with open(path, encoding="utf-8") as file:
        *entries, last = [json.loads(line) for line in file]
    return [Entry(**entry) for entry in entries], last["http_failures"]
