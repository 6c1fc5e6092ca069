"""The page of a sweep: curves of its trials, what each value led to, a table, and the command of the best one."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from dominate.dom_tag import dom_tag
from dominate.tags import code, div, h2, p, pre, td, th

from util.pages.charts import Chart, Points
from util.pages.html import bullets, page, whole_flags, wide_table
from util.wording import counted

_STRONG = 6
"""Trials whose curves have colours; those of the others are pale."""


@dataclass(frozen=True)
class SweepTrial:
    """One trial.

    Attributes:
        name: of its run, without the folder of the sweep.
        state: ``waiting``, ``running``, ``done``, ``pruned`` or ``failed``.
        params: flag -> word.
        points: (epoch, value of the metric), ascending.
        value: the one that counts; None before the end, and of trials that failed. Of a pruned one, the last.
        seconds: between start and end; None before.
        remark: why it failed, or how often it was started again.
    """

    name: str
    state: str
    params: Mapping[str, str] = field(default_factory=dict)
    points: Points = ()
    value: float | None = None
    seconds: float | None = None
    remark: str = ""


@dataclass(frozen=True)
class SweepReport:
    """All that a page shows.

    Attributes:
        name: of the sweep.
        metric: heading of what is compared, with its unit.
        higher_is_better: the direction of better.
        trials: in the order of their numbers.
        log_flags: options that vary on a logarithmic scale.
        facts: sentences on how the sweep searches.
        commands: of the best trial: what it does -> command line; empty before there is one.
    """

    name: str
    metric: str
    higher_is_better: bool
    trials: Sequence[SweepTrial]
    log_flags: frozenset[str] = frozenset()
    facts: Sequence[str] = ()
    commands: Mapping[str, str] = field(default_factory=dict)

    @property
    def ranked(self) -> list[SweepTrial]:
        """The trials that came to their end, the best first."""
        done = [each for each in self.trials if each.state == "done" and each.value is not None]
        sign = -1 if self.higher_is_better else 1
        return sorted(done, key=lambda each: sign * (each.value if each.value is not None else math.nan))

    @property
    def best(self) -> SweepTrial | None:
        """The best trial that came to its end."""
        return next(iter(self.ranked), None)


def sweep_page(report: SweepReport) -> str:
    """Return the whole HTML document."""
    counts = dict.fromkeys(("done", "pruned", "failed", "running", "waiting"), 0)
    for trial in report.trials:
        counts[trial.state] += 1
    told = ", ".join(f"{count} {state}" for state, count in counts.items() if count)
    direction = "higher" if report.higher_is_better else "lower"
    head = p(f"{counted(len(report.trials), 'trial')}: {told}. {report.metric}: {direction} is better.", cls="soft")
    pieces = [head, *_best(report), h2("Curves"), *_curves(report), *_effects(report), h2("Trials"), _table(report)]
    return page(f"Sweep {report.name}", [*pieces, bullets(report.facts)])


def _best(report: SweepReport) -> list[dom_tag]:
    best = report.best
    if best is None:
        return []
    params = ", ".join(f"{flag} {word}" for flag, word in best.params.items())
    text = p(f"{best.name}: {report.metric} {_number(best.value)} with {params}.")
    commands = [div(p(what, cls="soft"), pre(code(whole_flags(line)), style="white-space: pre-wrap"))
                for what, line in report.commands.items()]  # fmt: skip
    return [h2("Best"), text, *commands]


def _curves(report: SweepReport) -> list[dom_tag]:
    drawn = [each for each in report.trials if each.points]
    if not drawn:
        return [p("No epoch was measured yet.", cls="soft")]
    first = [each.name for each in report.ranked] + [each.name for each in drawn]
    strong = list(dict.fromkeys(first))[:_STRONG]
    points = {each.name: each.points for each in drawn}
    chart = Chart(
        report.metric,
        {name: points[name] for name in strong if name in points},
        "epoch",
        note="colours: the best" if len(drawn) > _STRONG else "",
        others=[each for name, each in points.items() if name not in strong],
    )
    return [div(chart.inline(), _progress(report).inline(), cls="charts")]


def _progress(report: SweepReport) -> Chart:
    """The best value so far, over the trials."""
    pick = max if report.higher_is_better else min
    best: list[tuple[float, float]] = []
    for number, trial in enumerate(report.trials):
        if trial.state == "done" and trial.value is not None:
            best.append((number, pick([trial.value, *(value for _, value in best[-1:])])))
    return Chart("Best so far", {"Best so far": best}, "trial")


def _effects(report: SweepReport) -> list[dom_tag]:
    """A chart for every option with numbers: what its values led to."""
    charts = []
    for flag in dict.fromkeys(flag for trial in report.trials for flag in trial.params):
        points: dict[str, list[tuple[float, float]]] = {}
        for trial in report.trials:
            x = _as_number(trial.params.get(flag, ""))
            if x is not None and trial.value is not None and trial.state in ("done", "pruned"):
                points.setdefault(trial.state, []).append((x, trial.value))
        every = {x for group in points.values() for x, _ in group}
        if len(every) > 1:
            log = flag in report.log_flags and min(every) > 0
            charts.append(Chart(f"{report.metric} by {flag}", points, flag, scattered=True, log_x=log))
    return [h2("What the values led to"), div((chart.inline() for chart in charts), cls="charts")] if charts else []


def _table(report: SweepReport) -> dom_tag:
    flags = list(dict.fromkeys(flag for trial in report.trials for flag in trial.params))
    best = report.best
    numbers = {
        flag: all(_as_number(each.params.get(flag, "0")) is not None for each in report.trials) for flag in flags
    }
    heads = ["Trial", "State", *(th(flag, cls="number" if numbers[flag] else "") for flag in flags)]
    heads += [th(head, cls="number") for head in (report.metric, "Epochs", "Seconds")] + ["Remark"]
    rank = {each.name: place for place, each in enumerate(report.ranked)}
    rows = []
    for trial in sorted(report.trials, key=lambda each: rank.get(each.name, len(rank))):
        mark = "number best" if trial is best else "number"
        epochs = f"{trial.points[-1][0]:g}" if trial.points else ""
        seconds = "" if trial.seconds is None else f"{trial.seconds:.0f}"
        rows.append(
            [
                trial.name,
                trial.state,
                *(td(trial.params.get(flag, ""), cls="number" if numbers[flag] else "") for flag in flags),
                td(_number(trial.value), cls=mark),
                td(epochs, cls="number"),
                td(seconds, cls="number"),
                trial.remark,
            ]
        )
    return wide_table(heads, rows)


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.5g}"


def _as_number(word: str) -> float | None:
    try:
        value = float(word)
    except ValueError:
        return None
    return value if math.isfinite(value) else None
