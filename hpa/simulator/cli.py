# SPDX-License-Identifier: Apache-2.0
"""The command line: which manifests, which traces, which changes for a trial, and what is shown of it."""

import argparse
import itertools
import os
import pathlib
import sys

from simulator import manifests, plot, report
from simulator.cluster import Cluster
from simulator.settings import SettingsError, known_kind, names, policies_text, with_changes
from simulator.traces import FileTrace, SHAPES, Trace, YEAR

EXAMPLES = """\
examples:
  simulate --targets                                  whether the shipped settings reach what they promise
  simulate burst --set scale.max=24,48,96             a line for each value
  simulate spike --explain 590-800 --svg spike.svg    why, and the curves
  simulate jobs.csv --overlay k8s/overlays/eks        a trace of one's own: columns arrived, seconds and, maybe, kind
  simulate --settings                                 every name that --set takes, and its value
"""


def number_between(least, most):
    """A type for argparse."""
    def number(text):
        try:
            found = float(text)
        except ValueError:
            found = float("nan")
        if not least <= found <= most:
            raise argparse.ArgumentTypeError(f"a number from {least:g} to {most:g} is needed, not {text}")
        return found
    return number


def parser():
    found = argparse.ArgumentParser(
        prog="simulate", description="Replays a trace of jobs against the shipped manifests, on paper.",
        epilog=EXAMPLES, formatter_class=argparse.RawDescriptionHelpFormatter)
    option = found.add_argument
    shapes = "; ".join(f"{name}: {shape.help}" for name, shape in SHAPES.items())
    option("trace", nargs="*", default=[], help=f"{shapes}; or a CSV file. Default: burst")
    option("--overlay", default="eks", help="a kustomize overlay, by its folder, or eks or local (eks)")
    option("--component", action="append", default=[], metavar="NAME", dest="components",
           help="of hpa/components, or its folder: on top of the overlay, as calendar or tolerance")
    option("--nodes", default=manifests.NODES, help="the file with the groups of nodes (hpa/nodes.yaml)")
    option("--kind", default="matrix", help="of the jobs of a built-in trace; several, with commas: in equal shares "
           "(matrix)")
    option("--rate", type=number_between(0.001, 1e6), default=1000.0, help="jobs per minute, at the peak (1000)")
    option("--job-seconds", type=number_between(0.001, YEAR), default=20.0, help="their mean length (20)")
    option("--cv", type=number_between(0, 100), default=0.5,
           help="standard deviation of the lengths over the mean (0.5)")
    option("--seed", type=int, default=1, help="another one: other arrivals, lengths and coincidences")
    option("--set", action="append", default=[], metavar="NAME=VALUE[,VALUE..]", dest="changes",
           help="a trial; several values, or several of these: every combination")
    option("--case", action="append", default=[], metavar="'TITLE: NAME=VALUE ..'", dest="cases",
           help="changes that belong together: a line for each of these, with its title")
    option("--explain", nargs="?", const="0-", metavar="FROM-TO", help="the decisions, step by step (seconds)")
    option("--svg", metavar="FILE", help="the curves of the last run")
    option("--settings", action="store_true", help="print what the manifests came to, and end")
    option("--targets", action="store_true",
           help="the targets of all traces that have any, or of those named; status 1 where one is missed")
    return found


def folder_of(what, name, where):
    """Of an overlay or a component: one that is shipped, or any other by its path."""
    folder = where / name if (where / name).is_dir() else pathlib.Path(name)
    if not folder.is_dir():
        raise SettingsError(f"there is no {what} '{name}'")
    return folder


def settings_of(args):
    overlay = folder_of("overlay", args.overlay, manifests.ROOT / "k8s" / "overlays")
    components = [folder_of("component", name, manifests.COMPONENTS) for name in args.components]
    return manifests.settings_of(manifests.render(overlay, components), args.nodes)


def pair(option, text):
    name, equals, value = text.partition("=")
    if not equals:
        raise SettingsError(f"{option} takes NAME=VALUE, not '{text}'")
    return name, value


def case_of(text):
    """'TITLE: NAME=VALUE ..' -> (TITLE, changes), of which there may be none."""
    title, colon, changes = text.partition(":")
    if not colon or "=" in title:
        raise SettingsError(f"--case takes 'TITLE: NAME=VALUE ..', not '{text}'")
    return title, dict(pair("--case", word) for word in changes.split())


def trials(args):
    """(remark, changes) of each line: every combination of the values of --set, in every case of --case."""
    axes = [[(name, value) for value in values.split(",")]
            for name, values in (pair("--set", change) for change in args.changes)]
    for title, changes in map(case_of, args.cases or [":"]):
        for pairs in itertools.product(*axes):
            yield " ".join([title, *map("=".join, pairs)]).strip(), {**changes, **dict(pairs)}


def make_trace(name, settings, args):
    kinds = list(dict.fromkeys(args.kind.split(",")))
    if name not in SHAPES:
        trace = FileTrace(name, kinds[0])
    else:
        known = [settings.workloads[kind].job_limit for kind in kinds if kind in settings.workloads]
        trace = Trace(name, kinds, args.rate, args.job_seconds, args.cv, min(known, default=0), args.seed)
    for kind in trace.kinds:
        known_kind(settings, kind)
    return trace


def simulate(name, settings, args, is_explained=False):
    trace = make_trace(name, settings, args)
    return Cluster(settings, trace.kinds, args.seed, is_explained).run(trace)


def show_settings(settings, kind):
    for name, value in names(settings, kind):
        text = policies_text(value) if name.endswith("policies") else value
        print(f"{name} = {text}")


def span_of(text):
    """FROM-TO, of which either may be missing, as seconds."""
    since, _, until = text.partition("-")
    try:
        span = float(since or 0), float(until or "inf")
        if not span[0] <= span[1]:
            raise ValueError
        return span
    except ValueError:
        raise SettingsError(f"--explain takes FROM-TO in seconds, not '{text}'") from None


def explain(run, span):
    since, until = span
    print(report.steps(run.diary, since, until))


def runs(settings, args):
    """Every trace under every combination of changes; the table at the end, decisions before it."""
    lines = [report.header()]
    span = None if args.explain is None else span_of(args.explain)
    for name in args.trace or ["burst"]:
        for remark, changes in trials(args):
            run = simulate(name, with_changes(settings, changes), args, span is not None)
            if span:
                explain(run, span)
            lines.append(report.line(pathlib.Path(name).name, run, remark))
    if args.svg:
        draw(args.svg, run, " ".join(lines[-1][:1] + lines[-1][-1:]))
    print(report.table(lines))
    print(report.LEGEND)


def draw(path, run, title):
    try:
        pathlib.Path(path).write_text(plot.svg(run, title), encoding="utf-8")
    except OSError as error:
        raise SettingsError(f"{path}: {error.strerror}") from error


def targets(settings, args):
    lines, is_reached = [report.header()], True
    strangers = set(args.trace) - {target.trace for target in report.TARGETS}
    if strangers:
        raise SettingsError(f"there is no target for {', '.join(sorted(strangers))}")
    for target in report.TARGETS:
        if args.trace and target.trace not in args.trace:
            continue
        for _, changes in trials(args):
            run = simulate(target.trace, with_changes(settings, changes), args)
            is_reached &= not any(target.misses(run))
            lines.append(report.line(target.trace, run, report.verdict(target, run)))
    print(report.table(lines))
    print(report.LEGEND)
    return 0 if is_reached else 1


def main():
    args = parser().parse_args()
    try:
        settings = settings_of(args)
        if args.settings:
            show_settings(with_changes(settings, next(trials(args))[1]), args.kind.split(",")[0])
        elif args.targets:
            return targets(settings, args)
        else:
            runs(settings, args)
    except SettingsError as error:
        print(f"simulate: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:  # whoever read has enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0
