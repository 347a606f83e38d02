"""PURE. A result as one HTML file that needs nothing else: tables, and plots as SVG that follow the reader's colours."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from html import escape
from math import ceil, floor, log10

from cli.load.measure import Measured, Point

_WIDTH, _HEIGHT = 640, 240
_LEFT, _RIGHT, _TOP, _BOTTOM = 56, 12, 12, 34
_COLOURS = ("#0b6e5f", "#b4560a", "#31579c", "#8a3f8f", "#7a6a00", "#a3262a")

_STYLE = """
:root { color-scheme: light dark; font: 16px/1.5 system-ui, sans-serif; }
body { max-width: 1400px; margin: 0 auto; padding: 24px; }
h1 { font-size: 1.6rem; margin: 0 0 4px; } h2 { font-size: 1.1rem; margin: 28px 0 8px; }
.big { display: flex; flex-wrap: wrap; gap: 12px 40px; margin: 16px 0; }
.big b { display: block; font-size: 1.8rem; font-variant-numeric: tabular-nums; }
.plots { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 480px), 1fr)); gap: 20px; }
figure { margin: 0; } figcaption { font-weight: 600; margin-bottom: 4px; }
svg { width: 100%; height: auto; display: block; } svg text { fill: currentColor; font-size: 12px; opacity: 0.8; }
.grid { stroke: currentColor; opacity: 0.15; }
table { border-collapse: collapse; }
th, td { padding: 4px 18px 4px 0; text-align: right; font-variant-numeric: tabular-nums; }
th:first-child, td:first-child { text-align: left; }
tr + tr td { border-top: 1px solid color-mix(in srgb, currentColor 18%, transparent); }
.scroll { overflow-x: auto; }
""".strip()

Series = Mapping[str, Sequence[tuple[float, float]]]


def page(result: Measured) -> str:
    """The file's text."""
    return document(
        "Load of Parley",
        sentence(result.plan),
        _headline(result),
        f'<div class="plots">{"".join(_plots(result.points))}</div>',
        *_tables(result),
    )


def document(title: str, told: str, *parts: str) -> str:
    """A page with this title; `told` stands below it, both as they are written in HTML."""
    return "".join(
        (
            '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">",
            f"<title>{title}</title><style>{_STYLE}</style></head><body>",
            f"<h1>{title}</h1>",
            f"<p>{told}</p>",
            *parts,
            "</body></html>\n",
        )
    )


def sentence(named: Mapping[str, str]) -> str:
    """In HTML."""
    return escape(" · ".join(f"{name} {value}" for name, value in named.items()))


def _headline(result: Measured) -> str:
    shown = {f"latency {name}": f"{value:,.0f} ms" for name, value in result.latency_ms.items()}
    shown["turns answered"] = f"{sum(each.turns for each in result.classes):,}"
    shown["session-seconds"] = f"{result.session_seconds:,.0f}"
    return f'<div class="big">{"".join(f"<div><b>{value}</b>{escape(name)}</div>" for name, value in shown.items())}</div>'


def _plots(points: Sequence[Point]) -> Iterator[str]:
    percents = list(dict.fromkeys(name for point in points for name in point.latency_ms))
    yield plot(
        "Latency over time, ms",
        {name: [(point.at_s, point.latency_ms[name]) for point in points if name in point.latency_ms] for name in percents},
        "s",
    )
    yield plot(
        "Sessions and p99, ms",
        {"p99": [(point.connected, point.latency_ms["p99"]) for point in points if "p99" in point.latency_ms]},
        "sessions",
        dots=True,
    )
    services = sorted({name for point in points for name in point.cpu_ms})
    yield plot(
        "CPU of a session and second, ms",
        {name: [(point.at_s, point.cpu_ms[name]) for point in points if name in point.cpu_ms] for name in services},
        "s",
    )
    yield plot(
        "Memory, MB",
        {name: [(point.at_s, point.memory_mb[name]) for point in points if name in point.memory_mb] for name in services},
        "s",
    )
    yield plot("Sessions that are connected", {"sessions": [(point.at_s, point.connected) for point in points]}, "s")


def plot(title: str, series: Series, unit: str, *, dots: bool = False) -> str:
    """Lines, or dots where the order means nothing, above an axis that begins at 0."""
    shown = {name: values for name, values in series.items() if values}
    xs = [x for values in shown.values() for x, _ in values]
    ys = [y for values in shown.values() for _, y in values]
    if not xs:
        return f"<figure><figcaption>{escape(title)}</figcaption><p>Nothing was measured.</p></figure>"
    left, right = (0.0 if dots else min(xs)), max(xs)
    step = tick(max(ys) / 4)
    top = max(step, ceil(max(ys) / step) * step)

    def across(x: float) -> float:
        return _LEFT + (x - left) / ((right - left) or 1) * (_WIDTH - _LEFT - _RIGHT)

    def up(y: float) -> float:
        return _HEIGHT - _BOTTOM - y / top * (_HEIGHT - _TOP - _BOTTOM)

    drawn = []
    for number in range(round(top / step) + 1):
        y = up(number * step)
        drawn.append(f'<line class="grid" x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
        drawn.append(f'<text x="{_LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{number * step:g}</text>')
    drawn.append(f'<text x="{_LEFT}" y="{_HEIGHT - 16}">{left:.0f}</text>')
    drawn.append(f'<text x="{_WIDTH - _RIGHT}" y="{_HEIGHT - 16}" text-anchor="end">{right:.0f} {escape(unit)}</text>')
    for place, (name, values) in enumerate(shown.items()):
        colour = _COLOURS[place % len(_COLOURS)]
        if dots or len(values) == 1:
            drawn += [f'<circle cx="{across(x):.1f}" cy="{up(y):.1f}" r="3.5" fill="{colour}"/>' for x, y in values]
        else:
            path = " ".join(f"{across(x):.1f},{up(y):.1f}" for x, y in values)
            drawn.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        drawn.append(
            f'<text x="{_LEFT + 80 * place}" y="{_HEIGHT - 4}"><tspan fill="{colour}">● </tspan>{escape(name)}</text>'
        )
    return (
        f'<figure><figcaption>{escape(title)}</figcaption><svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img"'
        f' aria-label="{escape(title)}">{"".join(drawn)}</svg></figure>'
    )


def tick(least: float) -> float:
    """1, 2 or 5 times a power of ten, not below this."""
    if least <= 0:
        return 1.0
    power = 10.0 ** floor(log10(least))
    return next(factor * power for factor in (1, 2, 5, 10) if factor * power >= least * 0.999)


def _tables(result: Measured) -> Iterator[str]:
    percents = ("p50", "p95", "p99")
    yield "<h2>Clients</h2>"
    yield drawn_table(
        ("client", "sessions", "turns", "unanswered", *(f"{name} ms" for name in percents), "interrupted", "stopped p95 ms"),
        [
            (
                each.client,
                each.sessions,
                each.turns,
                each.unanswered,
                *(each.latency_ms.get(name, "–") for name in percents),
                each.interruptions,
                each.stopped_ms.get("p95", "–"),
            )
            for each in result.classes
        ],
    )
    yield "<h2>Services</h2>" + drawn_table(
        ("service", "CPU ms of a session and second", "memory at most, MB"),
        [(name, value, result.memory_mb.get(name, "–")) for name, value in sorted(result.cpu_ms.items())],
    )
    if troubles := [(each.client, trouble) for each in result.classes for trouble in each.troubles]:
        yield "<h2>Troubles</h2>" + drawn_table(("client", "what it was told, or ran into"), troubles)
    yield f"<h2>Machine</h2><p>{sentence(result.machine)}</p>"


def drawn_table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Of text."""
    heads = "".join(f"<th>{escape(cell)}</th>" for cell in head)
    body = "".join(f"<tr>{''.join(f'<td>{escape(str(cell))}</td>' for cell in row)}</tr>" for row in rows)
    return f'<div class="scroll"><table><tr>{heads}</tr>{body}</table></div>'
