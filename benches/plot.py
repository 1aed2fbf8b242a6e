"""Log-log plots as SVG text, readable on light and on dark pages, without a library.

Owns: the drawing. Must never know: what the numbers mean. A panel has a title, two labelled axes and up to four series,
told apart by colour and by the shape of their points; each point carries its value.
"""
import math
from dataclasses import dataclass
from xml.sax.saxutils import escape

WIDTH, HEIGHT = 480, 336
"""Of a panel, in pixels."""
LEFT, RIGHT, TOP, BOTTOM = 66, 26, 66, 50
STYLE = """
  svg { font: 12px system-ui, -apple-system, "Segoe UI", "DejaVu Sans", sans-serif }
  .page { fill: #ffffff } .ink { fill: #1f2328 } .faint { fill: #57606a }
  .grid { stroke: #d8dee4 } .axis { stroke: #57606a }
  .title { font-size: 14px; font-weight: 600 } .value { font-size: 11px }
  .a { fill: #0b5cad; stroke: #0b5cad } .b { fill: #b34700; stroke: #b34700 }
  .c { fill: #1a7f37; stroke: #1a7f37 } .d { fill: #8250df; stroke: #8250df }
  .line { fill: none; stroke-width: 2 } text { stroke: none }
  .value { paint-order: stroke; stroke: #ffffff; stroke-width: 3 }
  @media (prefers-color-scheme: dark) {
    .page { fill: #0d1117 } .ink { fill: #e6edf3 } .faint { fill: #9198a1 }
    .grid { stroke: #2b323b } .axis { stroke: #9198a1 }
    .a { fill: #58a6ff; stroke: #58a6ff } .b { fill: #f0a04b; stroke: #f0a04b }
    .c { fill: #56d364; stroke: #56d364 } .d { fill: #d2a8ff; stroke: #d2a8ff }
    .line { fill: none } text { stroke: none } .value { stroke: #0d1117 }
  }
"""


@dataclass
class Series:
    """A name, and points (x, y) in the order of x; both positive."""
    name: str
    points: list


@dataclass
class Panel:
    title: str
    x_label: str
    y_label: str
    series: list


def label(value):
    """1,000 and 10,000, then 100 k and 10 M; two digits below ten."""
    for size, unit in ((1e9, " G"), (1e6, " M"), (1e5, None), (1e3, "")):
        if value >= size and unit is None:
            return f"{value / 1e3:,.0f} k"
        if value >= size:
            return f"{value:,.0f}" if unit == "" else f"{value / size:.3g}{unit}"
    return f"{value:.0f}" if value >= 100 else f"{value:.2g}" if value < 10 else f"{value:.3g}"


def bounds(values, decades_min):
    """The powers, or their double or five-fold, around the values; at least so many decades apart, and never at the rim."""
    low, high = min(values), max(values)
    spare = max(decades_min - math.log10(high / low), 0.24 * math.log10(high / low))
    low, high = low / 10 ** (spare / 2), high * 10 ** (spare / 2)
    steps = [digit * 10.0 ** power for power in range(-9, 13) for digit in (1, 2, 5)]
    return max(step for step in steps if step <= low * 1.0001), min(step for step in steps if step >= high * 0.9999)


def ticks(low, high):
    digits = (1, 2, 5) if math.log10(high / low) <= 2.4 else (1,)
    every = [digit * 10.0 ** power for power in range(-9, 13) for digit in digits]
    return [tick for tick in every if low * 0.9999 <= tick <= high * 1.0001]


class Scale:
    """From a value to a pixel."""

    def __init__(self, low, high, start, end):
        self.low, self.span = math.log10(low), math.log10(high) - math.log10(low)
        self.start, self.end = start, end

    def __call__(self, value):
        return self.start + (math.log10(value) - self.low) / self.span * (self.end - self.start)


def marker(kind, x, y):
    shapes = {
        "a": f'<circle class="a" cx="{x:.1f}" cy="{y:.1f}" r="4"/>',
        "b": f'<rect class="b" x="{x - 4:.1f}" y="{y - 4:.1f}" width="8" height="8"/>',
        "c": f'<path class="c" d="M{x:.1f} {y - 5:.1f}l5 9h-10z"/>',
        "d": f'<path class="d" d="M{x:.1f} {y - 5:.1f}l5 5-5 5-5-5z"/>',
    }
    return shapes[kind]


def text(x, y, content, classes, anchor="start", more=""):
    return f'<text class="{classes}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"{more}>{escape(content)}</text>'


def axes(panel, across, up, x_ticks, y_ticks):
    left, right, top, bottom = LEFT, WIDTH - RIGHT, TOP, HEIGHT - BOTTOM
    out = []
    for tick in x_ticks:
        out.append(f'<path class="grid" d="M{across(tick):.1f} {top}V{bottom}"/>')
        out.append(text(across(tick), bottom + 18, label(tick), "faint", "middle"))
    for tick in y_ticks:
        out.append(f'<path class="grid" d="M{left} {up(tick):.1f}H{right}"/>')
        out.append(text(left - 8, up(tick) + 4, label(tick), "faint", "end"))
    out.append(f'<path class="axis" fill="none" d="M{left} {top}V{bottom}H{right}"/>')
    out.append(text((left + right) / 2, HEIGHT - 12, panel.x_label, "ink", "middle"))
    middle = (top + bottom) / 2
    out.append(text(16, middle, panel.y_label, "ink", "middle", f' transform="rotate(-90 16 {middle})"'))
    return out


def overlap(box, other):
    return box[0] < other[2] and other[0] < box[2] and box[1] < other[3] and other[1] < box[3]


def value_labels(panel, across, up):
    """Each point's value where there is room for it: above the point, below it, or beside it."""
    points = [(across(x), up(y), label(y)) for series in panel.series for x, y in series.points]
    taken = [(x - 5, y - 5, x + 5, y + 5) for x, y, _ in points]
    out = []
    for x, y, content in points:
        half = 3.4 * len(content)
        places = [(x, y - 9), (x, y + 17), (x - half - 9, y + 4), (x + half + 9, y + 4), (x, y - 22), (x, y + 30)]
        boxes = [(cx - half, cy - 10, cx + half, cy + 1) for cx, cy in places]
        free = [not any(overlap(box, other) for other in taken) and box[2] < WIDTH and box[3] < HEIGHT - BOTTOM
                for box in boxes]
        best = free.index(True) if True in free else 0
        taken.append(boxes[best])
        out.append(text(*places[best], content, "ink value", "middle"))
    return out


def draw_panel(panel):
    xs = [x for series in panel.series for x, _ in series.points]
    ys = [y for series in panel.series for _, y in series.points]
    margin = (max(xs) / min(xs)) ** 0.06
    (x_low, x_high), (y_low, y_high) = (min(xs) / margin, max(xs) * margin), bounds(ys, 1.6)
    across = Scale(x_low, x_high, LEFT, WIDTH - RIGHT)
    up = Scale(y_low, y_high, HEIGHT - BOTTOM, TOP)
    x_ticks = [10.0 ** power for power in range(0, 13) if x_low <= 10.0 ** power <= x_high]
    out = [text(LEFT - 50, 22, panel.title, "ink title")]
    out += axes(panel, across, up, x_ticks, ticks(y_low, y_high))
    at = LEFT
    for kind, series in zip("abcd", panel.series):
        out += [marker(kind, at + 4, 44), text(at + 14, 48, series.name, "ink")]
        at += 32 + 6.2 * len(series.name)
        line = "L".join(f"{across(x):.1f} {up(y):.1f}" for x, y in series.points)
        out.append(f'<path class="{kind} line" d="M{line}"/>')
        out += [marker(kind, across(x), up(y)) for x, y in series.points]
    return out + value_labels(panel, across, up)


def draw(panels, description, columns=2):
    """The whole picture as SVG."""
    rows = math.ceil(len(panels) / columns)
    width, height = WIDTH * columns, HEIGHT * rows
    out = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
           f'role="img">', f"<title>{escape(description)}</title>", f"<style>{STYLE}</style>",
           f'<rect class="page" width="{width}" height="{height}" rx="6"/>']
    for index, panel in enumerate(panels):
        x, y = WIDTH * (index % columns), HEIGHT * (index // columns)
        out += [f'<g transform="translate({x} {y})">', *draw_panel(panel), "</g>"]
    return "\n".join(out + ["</svg>", ""])
