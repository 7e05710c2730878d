# SPDX-License-Identifier: Apache-2.0
"""What `./run up`, `down` and `demo` understand."""

import argparse
import os
import re
import signal
import sys
import time

from fleet import process
from fleet.folder import Folder, Refused
from fleet.scaler import STABILISATION_SECONDS
from fleet.supervisor import REPOSITORY, Supervisor

DEFAULT_DATA = os.path.join(REPOSITORY, ".millrace")
SERVERS_DOWN_SECONDS = 60  # beyond the grace of the workers


def main(arguments):
    options = _parser().parse_args(arguments)
    try:
        return options.run(options)
    except (Refused, OSError) as reason:  # OSError: a data folder that cannot be written, a full disk
        print(f"millrace: {reason}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


def _parser():
    parser = argparse.ArgumentParser(prog="./run", allow_abbrev=False)
    verbs = parser.add_subparsers(metavar="up | down | demo", required=True)

    up = verbs.add_parser("up", help="start a fleet and keep it running until Ctrl-C", allow_abbrev=False)
    up.add_argument("--port", type=_port, default=_number("MILLRACE_PORT", 8080),
                    help="of the gateway; 0 takes a free one (default 8080)")
    _add_data(up)
    up.add_argument("--workers", type=_range, metavar="MIN..MAX", default=(1, max(1, cpus())),
                    help="worker processes, as many as the backlog asks for (default 1..CPUs)")
    up.add_argument("--slots", type=_slots, metavar="N", default=_number("MILLRACE_SLOTS", 1),
                    help="jobs that one worker runs at a time; 0: as many as CPUs (default 1)")
    up.add_argument("--stabilise", type=_seconds, metavar="SECONDS", default=STABILISATION_SECONDS,
                    help="a worker goes when none of the last SECONDS needed it (default %(default)g)")
    up.add_argument("--detach", action="store_true", help="return once it is ready; ./run down stops it")
    up.set_defaults(run=_up)

    down = verbs.add_parser("down", help="stop the fleet of a data folder", allow_abbrev=False)
    _add_data(down)
    down.set_defaults(run=_down)

    demo = verbs.add_parser("demo", help="a fleet, a few jobs, their results, and down again", allow_abbrev=False)
    demo.set_defaults(run=_demo)
    return parser


def _add_data(parser):
    parser.add_argument("--data", metavar="DIR", default=DEFAULT_DATA,
                        help="where the servers keep their data and logs (default .millrace in the repository)")


def _port(text):
    if not text.isdecimal() or int(text) > 65535:
        raise argparse.ArgumentTypeError(f"{text!r} is not a port: 0 to 65535")
    return int(text)


def _slots(text):
    if not text.isdecimal() or int(text) > 256:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of slots: 0 to 256")
    return int(text)


def _seconds(text):
    if not re.fullmatch(r"\d+(\.\d+)?", text):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds")
    return float(text)


def _range(text):
    least, dots, most = text.partition("..")
    if not least.isdecimal() or (dots and not most.isdecimal()):
        raise argparse.ArgumentTypeError(f"{text!r} is not MIN..MAX, as in 0..4, or a number")
    bounds = int(least), int(most if dots else least)
    if not bounds[0] <= bounds[1] <= 256 or bounds[1] == 0:
        raise argparse.ArgumentTypeError(f"{text!r}: MIN at most MAX, and MAX from 1 to 256")
    return bounds


def _number(name, otherwise):
    """A default as text, so that the checks above see it too."""
    return os.environ.get(name, str(otherwise))


def cpus():
    """Those this process may use: affinity, and the quota of its cgroup."""
    count = len(os.sched_getaffinity(0))
    try:
        with open("/sys/fs/cgroup/cpu.max", encoding="ascii") as file:
            quota, period = file.read().split()
        if quota != "max":
            count = min(count, max(1, int(quota) // int(period)))
    except (OSError, ValueError):
        pass  # no cgroup v2 here: no quota to heed
    return count


# -- up ------------------------------------------------------------------------

def _up(options):
    options.slots = options.slots or cpus()
    options.data = os.path.abspath(options.data)
    if options.detach:
        return _up_detached(options)
    _supervise(options, lambda url: _say(f"ready: {url}"))
    return 0


def _supervise(options, on_ready):
    Supervisor(Folder(options.data), options, _say).run(on_ready)


def _say(text):
    try:
        print(text, flush=True)
    except OSError:
        pass  # whoever listened has gone; the fleet has not


def _up_detached(options):
    """The supervisor is a child; what it says until it is ready comes through a pipe."""
    reader, writer = os.pipe()
    stops = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    signal.pthread_sigmask(signal.SIG_BLOCK, stops)  # one that comes now waits until it meets the child, too
    child = os.fork()
    if child == 0:
        os.close(reader)
        os.setsid()
        signal.pthread_sigmask(signal.SIG_UNBLOCK, stops)
        for stream in (1, 2):
            os.dup2(writer, stream)
        os.close(writer)
        os._exit(_supervise_detached(options))
    os.close(writer)
    for number in stops:
        signal.signal(number, lambda *_: os.kill(child, signal.SIGTERM))
    signal.pthread_sigmask(signal.SIG_UNBLOCK, stops)
    with os.fdopen(reader, encoding="utf-8", errors="replace") as lines:
        for line in lines:
            print(line, end="", flush=True)
            if line.startswith("ready: "):
                return 0
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) or 1


def _supervise_detached(options):
    def leave_terminal(url):
        _say(f"ready: {url}")
        log = os.open(os.path.join(options.data, "log", "supervisor.log"),
                      os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        null = os.open(os.devnull, os.O_RDONLY)
        for target, source in ((0, null), (1, log), (2, log)):
            os.dup2(source, target)

    try:
        _supervise(options, leave_terminal)
    except (Refused, OSError) as reason:
        _say(f"millrace: {reason}")
        return 1
    return 0


# -- down ----------------------------------------------------------------------

def _down(options):
    folder = Folder(options.data)
    if not os.path.exists(folder.file("state.json")):
        print(f"nothing runs on {folder.path}")
        return 0
    state = folder.read()
    pid, start = state.get("supervisor", (0, None))
    if folder.try_lock():
        process.kill_recorded(state.get("processes", {}).values())
        print(f"nothing runs on {folder.path}")
        return 0
    if start is None or process.start_time_of(pid) != start:
        raise Refused(f"{folder.file('lock')} is held, but not by the supervisor that state.json names")
    os.kill(pid, signal.SIGTERM)
    _wait_for_end(pid, start, state.get("grace_seconds", 0) + SERVERS_DOWN_SECONDS)
    print(f"stopped the fleet on {folder.path}")
    return 0


def _wait_for_end(pid, start, seconds):
    deadline = time.monotonic() + seconds
    while process.start_time_of(pid) == start:
        try:
            if time.monotonic() > deadline:
                process.kill_recorded([(pid, start)])  # its children die with it
            time.sleep(0.05)
        except KeyboardInterrupt:
            os.kill(pid, signal.SIGTERM)  # the second one: at once


# -- demo ----------------------------------------------------------------------

def _demo(_options):
    from fleet import demo
    return demo.run()
