"""Drawings of the cost report: what does it cost over time, who takes the tokens, and how long do people wait?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Final

from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, MaxNLocator

from reports.charts import ALERT, DARK, FULL, GRID, INK, LIGHT, Charts, legend
from reports.cost.model import CostReport, Line, MonthFees, Times
from reports.phrase import phrase

_SCALE: Final = (
    (1, "1 ms"),
    (10, "10 ms"),
    (100, "100 ms"),
    (1_000, "1 s"),
    (10_000, "10 s"),
    (60_000, "1 min"),
    (600_000, "10 min"),
    (3_600_000, "1 h"),
    (21_600_000, "6 h"),
    (86_400_000, "1 d"),
    (604_800_000, "7 d"),
    (2_592_000_000, "30 d"),
    (31_536_000_000, "365 d"),
)


def drawn(charts: Charts, report: CostReport) -> Mapping[str, bytes]:
    """SVG by name; a chart without data is not drawn, and the template asks for none."""
    made: dict[str, bytes] = {}
    if report.by_month:
        made["fees"] = _fees(charts, report.by_month, report.currency)
    if any(one.tokens.recorded for one in report.models):
        made["tokens"] = _tokens(charts, [one for one in report.models if one.tokens.recorded])
    times = [one for one in report.times if one.measured]
    if times:
        made["times"] = _times(charts, times)
    return made


def _fees(charts: Charts, months: Sequence[MonthFees], currency: str) -> bytes:
    """Fees by month, by where the answer came from."""

    def paint(axes: Axes) -> None:
        places, bottom = range(len(months)), [Decimal(0)] * len(months)
        for name, values, colour, hatch in (
            (phrase("calls"), [one.call for one in months], DARK, ""),
            (phrase("batches"), [one.batch for one in months], LIGHT, ""),
            (phrase("cached answers"), [one.cache for one in months], ALERT, "////"),
        ):
            heights = [float(value) for value in values]
            under = [float(value) for value in bottom]
            axes.bar(
                places,
                heights,
                bottom=under,
                width=0.7,
                color=colour,
                hatch=hatch,
                edgecolor="white",
                linewidth=0,
                label=charts.label(name, 40),
            )
            bottom = [one + value for one, value in zip(bottom, values, strict=True)]
        step = -(-len(months) // 9)
        ticks = list(range(0, len(months), step))
        axes.set_xticks(ticks, [months[at].label for at in ticks])
        axes.set_xlim(-0.6, max(len(months), 8) - 0.4)
        axes.set_ylabel(charts.label(phrase("fees, {currency}", currency=currency), 40))
        axes.grid(axis="y", color=GRID, linewidth=0.6)
        axes.yaxis.set_major_locator(MaxNLocator(4))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.10g}"))
        axes.spines["left"].set_visible(False)
        axes.tick_params(axis="y", length=0)
        legend(axes, 3)

    return charts.draw(FULL, 1.8, paint)


def _tokens(charts: Charts, models: Sequence[Line]) -> bytes:
    """Tokens by model, into it and out of it."""

    def paint(axes: Axes) -> None:
        into = [one.tokens.input for one in models]
        out = [one.tokens.output for one in models]
        places = range(len(models))
        named = charts.label(phrase("input tokens"), 40)
        axes.barh(places, into, height=0.62, color=DARK, label=named)
        named = charts.label(phrase("output tokens"), 40)
        axes.barh(places, out, height=0.62, left=into, color=LIGHT, label=named)
        axes.set_yticks(places, [charts.label(one.label, 30) for one in models])
        axes.invert_yaxis()
        axes.tick_params(axis="y", length=0)
        axes.set_xlabel(charts.label(phrase("tokens"), 40))
        axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
        axes.grid(axis="x", color=GRID, linewidth=0.6)
        legend(axes, 2)

    return charts.draw(FULL, 0.75 + 0.2 * len(models), paint)


def _times(charts: Charts, times: Sequence[Times]) -> bytes:
    """Median, 95 and 99 percent of each duration, on one scale of powers."""

    def paint(axes: Axes) -> None:
        for place, one in enumerate(times):
            # Nothing is shorter than the scale's first mark: a logarithm has no place for 0.
            p50, p95, p99 = (max(value or 1, 1) for value in (one.p50, one.p95, one.p99))
            axes.plot([p50, p99], [place, place], color=LIGHT, linewidth=5, solid_capstyle="butt", zorder=1)
            for value, marker, colour, name in (
                (p50, "o", DARK, phrase("median")),
                (p95, "D", INK, phrase("95 %")),
                (p99, "|", ALERT, phrase("99 %")),
            ):
                axes.plot(
                    [value],
                    [place],
                    marker=marker,
                    color=colour,
                    markersize=9 if marker == "|" else 4.5,
                    markeredgewidth=2 if marker == "|" else 0.8,
                    linestyle="none",
                    label=charts.label(name, 20) if place == 0 else None,
                    zorder=2,
                )
        axes.set_yticks(range(len(times)), [charts.label(one.label, 60) for one in times])
        axes.set_ylim(len(times) - 0.5, -0.5)
        axes.tick_params(axis="y", length=0)
        axes.set_xscale("log")
        low = min(max(one.p50 or 1, 1) for one in times)
        high = max(max(one.p99 or 1, 1) for one in times)
        first = max((value for value, _ in _SCALE if value <= low), default=1)
        last = min((value for value, _ in _SCALE if value >= high), default=_SCALE[-1][0])
        shown = [(value, name) for value, name in _SCALE if first <= value <= last]
        axes.set_xticks([value for value, _ in shown], [name for _, name in shown])
        axes.set_xlim(first * 0.9, last * 1.15)
        axes.minorticks_off()
        axes.grid(axis="x", color=GRID, linewidth=0.6)
        legend(axes, 3)

    return charts.draw(FULL, 0.5 + 0.24 * len(times), paint)
