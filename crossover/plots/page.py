"""One self-contained HTML page: words, tables, interactive figures and the scripts that draw them, all inside.

A content security policy admits these very scripts and nothing else: no network, no `eval` (Vega interprets its
expressions), and no name in a table can become code.
"""

import base64
import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template
from markupsafe import Markup

from crossover.plots.house import COLOURS, Figure, Row, config, javascript

_HERE = Path(__file__).parent


@dataclass(frozen=True)
class Shown:
    """A figure as the page holds it."""

    name: str
    title: str
    caption: str
    embedded: Markup
    """Its Vega-Lite as JSON that cannot close the script element it lies in."""


def show(figure: Figure) -> Shown:
    """Embed a figure."""
    spec = figure.spec()
    spec = {key: value for key, value in spec.items() if key not in ("config", "$schema")}
    spec["datasets"] = {name: _packed(rows) for name, rows in spec["datasets"].items()}
    text = json.dumps(spec, allow_nan=False, separators=(",", ":"), ensure_ascii=False)
    return Shown(figure.name, figure.title, figure.caption, Markup(text.replace("<", "\\u003c")))  # noqa: S704


def _packed(rows: Sequence[Row]) -> list[list[Any]]:
    """A header and a list per row, numbers to five digits: a third of the size, and `page.js` unpacks it."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    return [names, *([_rounded(row.get(name)) for name in names] for row in rows)]


def _rounded(value: Any) -> Any:
    return float(f"{value:.5g}") if isinstance(value, float) else value


def page(template: Path, **content: Any) -> str:
    """A template, which extends `base.html.j2`, with the style, the scripts and the policy that admits them."""
    scripts = [javascript().replace("</script", "<\\/script"), (_HERE / "page.js").read_text()]
    palette = " ".join(f"--c{place}: {colour};" for place, colour in enumerate(COLOURS))
    hashes = [base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in scripts]
    return load_template(template).render(
        css=Markup(f":root {{ {palette} }}\n" + (_HERE / "page.css").read_text()),  # noqa: S704
        scripts=[Markup(text) for text in scripts],  # noqa: S704
        config=Markup(json.dumps(config()).replace("<", "\\u003c")),  # noqa: S704
        hashes=Markup(" ".join(f"'sha256-{value}'" for value in hashes)),  # noqa: S704
        **content,
    )


def load_template(path: Path) -> Template:
    """A template that may build on those of this folder. HTML is escaped; Markdown is read as it is."""
    return Environment(
        loader=FileSystemLoader([path.parent, _HERE]),
        autoescape=path.name.endswith(".html.j2"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    ).get_template(path.name)
