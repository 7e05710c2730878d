# SPDX-License-Identifier: Apache-2.0
"""What became of each arrival, and the file of it that the clients leave for load.py.

    {"due", "name", "sent", "accepted", "done", "fault"}   a line per arrival; seconds from the start, null: not reached
    {"http_failures": [{"method", "name", "error", "count"}]}   the last line

All arrivals are in it from the beginning: one that nobody came to send is not right either.
"""

import json
import os
from dataclasses import asdict, dataclass
from typing import Optional


@dataclass
class Entry:
    due: float
    name: str = "not sent"
    sent: Optional[float] = None
    accepted: Optional[float] = None
    done: Optional[float] = None  # its result is here and right
    fault: Optional[str] = None  # why it never will be


class Ledger:
    def __init__(self, arrivals):
        self.entries = [Entry(due) for due in arrivals]

    def is_settled(self):
        return not self._open()

    def give_up(self, fault):
        """Closes what is open, and returns it."""
        given_up = self._open()
        for entry in given_up:
            entry.fault = fault
        return given_up

    def _open(self):
        return [entry for entry in self.entries if entry.done is None and not entry.fault]

    def write(self, path, http_failures):
        """Whole or not at all."""
        with open(path + ".part", "w", encoding="utf-8") as file:
            for entry in self.entries:
                file.write(json.dumps(asdict(entry)) + "\n")
            file.write(json.dumps({"http_failures": http_failures}) + "\n")
        os.replace(path + ".part", path)


def read(path):
    """(entries, http_failures)"""
    with open(path, encoding="utf-8") as file:
        *entries, last = [json.loads(line) for line in file]
    return [Entry(**entry) for entry in entries], last["http_failures"]
