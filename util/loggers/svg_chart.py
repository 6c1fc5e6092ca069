"""Small line charts as inline SVG; their colours come from the page's style sheet (``util.html.STYLE``)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

from util.loggers.curve import Bucket, Curve

_WIDTH, _HEIGHT = 320.0, 140.0
_LEFT, _RIGHT, _TOP, _BOTTOM = 46.0, 314.0, 8.0, 120.0


def chart(name: str, curve: Curve, *, dots: bool = False) -> str:
    """Return a chart of one curve: a line of the means, over a band from the lowest to the highest value.

    The axes carry the lowest and highest value and the first and last number of images. A curve with no value gives a
    chart with a caption only.

    Args:
        name: the chart's caption.
        curve: what is drawn.
        dots: mark every value by a dot that shows it under the mouse; for curves of few values.
    """
    latest = f"{curve.buckets[-1].mean:.4g}" if curve.buckets else "no value yet"
    caption = f"<figcaption><b>{escape(name)}</b><span>{latest}</span></figcaption>"
    return f'<figure class="chart">{caption}{_svg(name, curve.buckets, dots)}</figure>'


def _svg(name: str, buckets: Sequence[Bucket], dots: bool) -> str:
    if not buckets:
        return ""
    low, high = min(bucket.low for bucket in buckets), max(bucket.high for bucket in buckets)
    first, last = buckets[0].x, buckets[-1].x

    def place(x: float, y: float) -> str:
        across = (x - first) / (last - first) if last > first else 0.5
        up = (y - low) / (high - low) if high > low else 0.5
        return f"{_LEFT + across * (_RIGHT - _LEFT):.1f},{_BOTTOM - up * (_BOTTOM - _TOP):.1f}"

    line = [place(bucket.x, bucket.mean) for bucket in buckets]
    if len(line) == 1:
        line *= 2  # a line of length 0 with round ends is a dot
    band = [place(bucket.x, bucket.high) for bucket in buckets]
    band += [place(bucket.x, bucket.low) for bucket in reversed(buckets)]
    parts = [
        f'<svg viewBox="0 0 {_WIDTH:g} {_HEIGHT:g}" role="img" aria-label="{escape(name)} over the images seen">',
        f'<path class="axis" d="M{_LEFT:g} {_TOP:g}V{_BOTTOM:g}H{_RIGHT:g}"/>',
        f'<polygon class="band" points="{_joined(band)}"/>' if any(b.count > 1 for b in buckets) else "",
        f'<polyline class="line" points="{_joined(line)}"/>',
        _dots(buckets, line) if dots else "",
        _text(_LEFT - 4, _TOP + 8, "end", f"{high:.3g}"),
        _text(_LEFT - 4, _BOTTOM, "end", f"{low:.3g}"),
        _text(_LEFT, _HEIGHT - 6, "start", f"{first:,.0f}"),
        _text(_RIGHT, _HEIGHT - 6, "end", f"{last:,.0f} images"),
        "</svg>",
    ]
    return "".join(parts)


def _dots(buckets: Sequence[Bucket], places: Sequence[str]) -> str:
    circles = []
    for bucket, place in zip(buckets, places):
        x, y = place.split(",")
        label = f"<title>{bucket.mean:.4g} at {bucket.x:,.0f} images</title>"
        circles.append(f'<circle cx="{x}" cy="{y}" r="3">{label}</circle>')
    return f'<g style="fill:var(--accent)">{"".join(circles)}</g>'


def _text(x: float, y: float, anchor: str, text: str) -> str:
    return f'<text x="{x:g}" y="{y:g}" text-anchor="{anchor}">{text}</text>'


def _joined(points: Iterable[str]) -> str:
    return " ".join(points)
