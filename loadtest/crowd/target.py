# SPDX-License-Identifier: Apache-2.0
"""The fleet under test: its address, as a person may have typed it, and the key that clients show."""

import os
import urllib.parse


def address(url):
    """The same without a slash at its end, as paths are put behind it. A ValueError says what is wrong with it."""
    parts = urllib.parse.urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
        raise ValueError(f"{url!r} is not the URL of a gateway, like http://127.0.0.1:8080")
    parts.port  # a ValueError unless it is a number that a port can have
    return url.rstrip("/")


def key():
    """MILLRACE_API_KEY, by itself or as @FILE; "" where there is none."""
    given = os.environ.get("MILLRACE_API_KEY", "")
    if not given.startswith("@"):
        return given
    with open(given[1:], encoding="utf-8") as file:
        return file.read().strip()
