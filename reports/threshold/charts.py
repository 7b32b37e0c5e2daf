"""Drawings of the threshold report: do scores crowd just above the threshold, and when was what let through?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes

from reports.charts import ALERT, DARK, FULL, INK, LIGHT, Charts, count_axis, legend
from reports.phrase import phrase
from reports.threshold.model import Near, Share, ThresholdReport


def drawn(charts: Charts, report: ThresholdReport) -> Mapping[str, bytes]:
    """SVG by name; a chart without data is not drawn, and the template asks for none."""
    made: dict[str, bytes] = {}
    if any(one.count for one in report.near):
        made["near"] = _near(charts, report.near)
    if report.below:
        made["months"] = _months(charts, report.months)
    return made


def _near(charts: Charts, bins: Sequence[Near]) -> bytes:
    """Scores by their distance from their own threshold."""

    def paint(axes: Axes) -> None:
        # A column of height 0 would be drawn as a line.
        below, above = [one for one in bins if one.below], [one for one in bins if one.above]
        axes.bar(
            [(one.hundredth + 0.5) / 100 for one in below],
            [one.below for one in below],
            width=0.0086,
            color=ALERT,
            edgecolor="white",
            linewidth=0,
            hatch="////",
            label=charts.label(phrase("below the threshold"), 60),
        )
        axes.bar(
            [(one.hundredth + 0.5) / 100 for one in above],
            [one.above for one in above],
            width=0.0086,
            bottom=[one.below for one in above],
            color=DARK,
            label=charts.label(phrase("at or above it"), 60),
        )
        named = charts.label(phrase("threshold"), 60)
        axes.axvline(0, color=INK, linewidth=1, linestyle=(0, (4, 2)), label=named)
        ends = bins[0].hundredth, bins[-1].hundredth + 1
        axes.set_xlim(ends[0] / 100, ends[1] / 100)
        ticks = [at / 100 for at in range(ends[0], ends[1] + 1, 2)]
        axes.set_xticks(ticks, [f"{tick:+.2f}" if tick else "0" for tick in ticks])
        axes.set_xlabel(charts.label(phrase("score minus its own threshold, in steps of 0.01"), 80))
        axes.set_ylabel(charts.label(phrase("decisions"), 40))
        count_axis(axes)
        legend(axes, 3)

    return charts.draw(FULL, 2.1, paint)


def _months(charts: Charts, months: Sequence[Share]) -> bytes:
    """Decisions below the threshold by month, by what became of them."""

    def paint(axes: Axes) -> None:
        places = range(len(months))
        alone = [one.alone + one.overruled for one in months]
        agreed = [one.agreed for one in months]
        named = charts.label(phrase("executed, no review agreed"), 60)
        axes.bar(places, alone, width=0.7, color=ALERT, edgecolor="white", linewidth=0, hatch="////", label=named)
        named = charts.label(phrase("executed, a review agreed"), 60)
        axes.bar(places, agreed, width=0.7, bottom=alone, color=DARK, label=named)
        under = [one + other for one, other in zip(alone, agreed, strict=True)]
        named = charts.label(phrase("not executed"), 60)
        held = [one.held for one in months]
        axes.bar(places, held, width=0.7, bottom=under, color=LIGHT, label=named)
        step = -(-len(months) // 9)
        ticks = list(range(0, len(months), step))
        axes.set_xticks(ticks, [charts.label(months[at].label, 20) for at in ticks])
        # A lone month keeps the width of a column, and does not become a wall.
        axes.set_xlim(-0.6, max(len(months), 8) - 0.4)
        axes.set_ylabel(charts.label(phrase("decisions"), 40))
        count_axis(axes)
        legend(axes, 3)

    return charts.draw(FULL, 1.7, paint)
