"""The report's drawings: model values in, SVG out.

Matplotlib, because it is the best kept of the candidates (PSF-style licence, no browser inside, every
point of type under control) and because its SVG can carry text as outlines of our own fonts: nothing to
embed, nothing to miss, the same on every machine. Colours are told apart by lightness alone, and the one
that matters is hatched as well.
"""

from __future__ import annotations

import io
import threading
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any, cast

import matplotlib
from matplotlib import font_manager
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from reports.figures import Confidence, Count, Latency, Outcome, Slice
from reports.fonts import MONO, Face, FontBook, file_of
from reports.phrase import phrase

INK = "#16243b"
DARK = "#24466e"
LIGHT = "#b9c8d8"
ALERT = "#d9822b"
GRID = "#dfe4ea"

FULL, HALF = 6.5, 3.12
"""Widths in inches: the text column, and one of two beside each other."""

Label = Callable[[str, int], str]
"""Makes a producer's string drawable and cuts it: `wording.Wording.label`."""


# Matplotlib's settings and font list belong to the process.
_DRAWING = threading.Lock()


@cache
def _registered(face: Face) -> str:
    """Make a face known to matplotlib, once a process; the name it knows it by."""
    path = str(file_of(face))
    font_manager.fontManager.addfont(path)
    return str(font_manager.FontProperties(fname=path).get_name())


class Charts:
    """Draws with the report's fonts. Make it after every label has gone through the wording, so that the
    fonts that the labels need are known."""

    def __init__(self, fonts: FontBook, label: Label) -> None:
        self.label = label
        self._style: dict[str, Any] = {
            "font.family": [
                _registered(face)
                for face in fonts.faces()
                if face.family != MONO and face.weight == 400 and face.style == "normal"
            ],
            "font.size": 8,
            "svg.fonttype": "path",
            "svg.hashsalt": "evidence-report",
            "hatch.linewidth": 0.7,
            "axes.edgecolor": INK,
            "axes.labelcolor": INK,
            "axes.linewidth": 0.6,
            "text.color": INK,
            "text.parse_math": False,
            "xtick.color": INK,
            "ytick.color": INK,
            "axes.unicode_minus": False,
        }

    def volume(self, columns: Sequence[Count]) -> bytes:
        """Records over time, one column a unit."""

        def paint(axes: Axes) -> None:
            axes.bar(range(len(columns)), [column.count for column in columns], width=0.78, color=DARK)
            step = -(-len(columns) // 8)
            ticks = range(0, len(columns), step)
            axes.set_xticks(list(ticks), [columns[i].label for i in ticks])
            # A lone column keeps the width of one, and does not become a wall.
            axes.set_xlim(-0.7, max(len(columns), 8) - 0.3)
            count_axis(axes)

        return self.draw(FULL, 1.4, paint)

    def outcomes(self, rows: Sequence[Outcome]) -> bytes:
        """Outcomes, money moved or not."""

        def paint(axes: Axes) -> None:
            moved = [row.moved for row in rows]
            axes.barh(range(len(rows)), moved, height=0.62, color=DARK, label=self.label(phrase("money moved"), 60))
            axes.barh(
                range(len(rows)),
                [row.not_moved for row in rows],
                height=0.62,
                left=moved,
                color=LIGHT,
                label=self.label(phrase("no money moved"), 60),
            )
            labels(axes, [self.label(row.outcome, 24) for row in rows], [row.count for row in rows])
            legend(axes, 2)

        return self.draw(FULL, 0.4 + 0.2 * len(rows), paint)

    def confidence(self, confidence: Confidence) -> bytes:
        """Scores in bins of 0.05, with the line of the threshold most in use."""

        def paint(axes: Axes) -> None:
            places = [(entry.low + entry.high) / 2 for entry in confidence.bins]
            below = [entry.below for entry in confidence.bins]
            axes.bar(
                places,
                below,
                width=0.043,
                color=ALERT,
                edgecolor="white",
                linewidth=0,
                hatch="////",
                label=self.label(phrase("below its threshold"), 60),
            )
            axes.bar(
                places,
                [entry.at_or_above for entry in confidence.bins],
                width=0.043,
                bottom=below,
                color=DARK,
                label=self.label(phrase("at or above its threshold"), 60),
            )
            if confidence.threshold is not None:
                axes.axvline(
                    confidence.threshold,
                    color=INK,
                    linewidth=1,
                    linestyle=(0, (4, 2)),
                    label=self.label(phrase("threshold {value:g}", value=confidence.threshold), 60),
                )
            axes.set_xlim(0, 1)
            axes.set_xticks([i / 10 for i in range(11)])
            axes.set_xlabel(self.label(phrase("confidence (0 worst, 1 best on each record’s own scale)"), 80))
            count_axis(axes)
            legend(axes, 3)

        return self.draw(FULL, 2.0, paint)

    def slices(self, rows: Sequence[Slice], lines: int) -> bytes:
        """Shares by model or by jurisdiction, with what lay below the threshold; room for that many lines, so
        that two of them stand level beside each other."""

        def paint(axes: Axes) -> None:
            below = [row.below for row in rows]
            axes.barh(
                range(len(rows)),
                below,
                height=0.62,
                color=ALERT,
                edgecolor="white",
                linewidth=0,
                hatch="////",
                label=self.label(phrase("below threshold"), 60),
            )
            axes.barh(
                range(len(rows)),
                [row.count - row.below for row in rows],
                height=0.62,
                left=below,
                color=DARK,
                label=self.label(phrase("other"), 60),
            )
            labels(axes, [self.label(row.label, 22) for row in rows], [row.count for row in rows])
            axes.set_ylim(lines - 0.5, -0.5)
            legend(axes, 2)

        return self.draw(HALF, 0.4 + 0.19 * lines, paint)

    def latency(self, latency: Latency) -> bytes:
        """Latency of the model's answers, with quantile lines; the last, lighter column holds everything
        slower."""

        def paint(axes: Axes) -> None:
            body, tail = latency.bins[:-1], latency.bins[-1]
            width = body[0].high or 1
            axes.bar(
                [entry.low for entry in body],
                [entry.count for entry in body],
                width=width * 0.88,
                align="edge",
                color=DARK,
            )
            axes.bar(
                [tail.low],
                [tail.count],
                width=width * 0.88,
                align="edge",
                color=LIGHT,
                edgecolor=DARK,
                linewidth=0.5,
            )
            for name, value, dashes in (
                (phrase("median"), latency.p50, (4, 2)),
                ("95 %", latency.p95, (2, 1.5)),
                ("99 %", latency.p99, (0.8, 1.2)),
            ):
                if value is not None:
                    axes.axvline(
                        value,
                        color=INK,
                        linewidth=0.9,
                        linestyle=(0, dashes),
                        label=self.label(phrase("{quantile}: {value:,} ms", quantile=name, value=value), 60),
                    )
            axes.set_xlim(0, tail.low + width)
            axes.set_xlabel(self.label(phrase("milliseconds"), 60))
            axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
            count_axis(axes)
            legend(axes, 3)

        return self.draw(FULL, 1.65, paint)

    def draw(self, width: float, height: float, paint: Callable[[Axes], None]) -> bytes:
        """One drawing as SVG, in the report's style; inches. A kind's own charts are drawn with it."""
        with _DRAWING, matplotlib.rc_context(cast(Any, self._style)):
            figure = Figure(figsize=(width, height), layout="constrained")
            FigureCanvasSVG(figure)
            axes = figure.add_subplot()
            for side in ("top", "right"):
                axes.spines[side].set_visible(False)
            axes.tick_params(length=2.5, width=0.6)
            axes.set_axisbelow(True)
            paint(axes)
            out = io.BytesIO()
            figure.savefig(out, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
            return out.getvalue()


def count_axis(axes: Axes) -> None:
    """An upright axis of whole numbers, with lines to read them by."""
    axes.yaxis.set_major_locator(MaxNLocator(4, integer=True))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    axes.grid(axis="y", color=GRID, linewidth=0.6)
    axes.spines["left"].set_visible(False)
    axes.tick_params(axis="y", length=0)


def labels(axes: Axes, names: list[str], counts: list[int]) -> None:
    """Names on the left, the count behind each bar, the first one on top."""
    axes.set_yticks(range(len(names)), names)
    axes.invert_yaxis()
    axes.tick_params(axis="y", length=0)
    axes.spines["bottom"].set_visible(False)
    axes.set_xticks([])
    axes.set_xlim(0, max(counts, default=1) * 1.14 or 1)
    axes.spines["left"].set_bounds(-0.5, len(names) - 0.5)
    for place, count in enumerate(counts):
        axes.annotate(
            f"{count:,}", (count, place), xytext=(4, 0), textcoords="offset points", va="center", fontsize=7.5
        )


def legend(axes: Axes, columns: int) -> None:
    """Above the drawing, from its left edge: it may be wider than the axes."""
    figure = cast(Figure, axes.figure)
    figure.legend(
        loc="outside upper left",
        ncols=columns,
        frameon=False,
        fontsize=7.5,
        borderaxespad=0.1,
        borderpad=0.1,
        handlelength=1.6,
        handletextpad=0.5,
        columnspacing=1.4,
    )
