"""The drawing of the completeness report: on which days did money move without a log?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes

from reports.charts import ALERT, DARK, FULL, LIGHT, Charts, count_axis, legend
from reports.completeness.model import CompletenessReport, Day
from reports.phrase import phrase


def drawn(charts: Charts, report: CompletenessReport) -> Mapping[str, bytes]:
    """SVG by name; nothing where no movement lies in the period."""
    return {"days": _days(charts, report.days)} if report.days else {}


def _days(charts: Charts, days: Sequence[Day]) -> bytes:
    def paint(axes: Axes) -> None:
        places, bottom = range(len(days)), [0] * len(days)
        for name, values, colour, hatch in (
            (phrase("logged alike"), [one.matched for one in days], DARK, ""),
            (phrase("logged differently"), [one.differing for one in days], LIGHT, ""),
            (phrase("without a log"), [one.unlogged for one in days], ALERT, "////"),
        ):
            axes.bar(
                places,
                values,
                bottom=bottom,
                width=0.78,
                color=colour,
                hatch=hatch,
                edgecolor="white",
                linewidth=0,
                label=charts.label(name, 40),
            )
            bottom = [under + value for under, value in zip(bottom, values, strict=True)]
        step = -(-len(days) // 8)
        axes.set_xticks(list(places[::step]), [one.label for one in days[::step]])
        axes.set_xlim(-0.7, max(len(days), 4) - 0.3)
        axes.set_ylabel(charts.label(phrase("movements"), 40))
        count_axis(axes)
        legend(axes, 3)

    return charts.draw(FULL, 1.7, paint)
