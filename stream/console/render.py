"""Pages → HTML: the templates, the words they use, and what is drawn anew while somebody looks.

Laws of this file:
- Everything that comes from a topic is escaped; data for charts is JSON in which no tag can end.
- A page's live parts are its blocks whose names begin with `live_`: drawn by themselves, they are what they are in the page.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from penstock.stream.console import words
from penstock.stream.console.charts import as_json
from penstock.stream.console.page import Asked, Chart, Page

LIVE = "live_"
TEMPLATES = Path(__file__).parent / "templates"
_ESCAPES = {ord(one): f"\\u{ord(one):04x}" for one in "<>&'\u2028\u2029"}


def json_for_html(value: Any) -> Markup:
    """JSON that may stand in an element or an attribute of HTML."""
    return Markup(json.dumps(value, separators=(",", ":"), allow_nan=False).translate(_ESCAPES))


class Renderer:
    """The templates of a table of pages."""

    def __init__(self, pages: Sequence[Page]) -> None:
        self.pages = list(pages)
        self._environment = environment = Environment(
            loader=FileSystemLoader(TEMPLATES),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
            auto_reload=False,
        )
        for name in (
            "age",
            "count",
            "day",
            "iso",
            "moment",
            "nats",
            "percent",
            "position",
            "short",
            "version",
            "word",
        ):
            environment.filters[name] = getattr(words, name)
        environment.filters["json"] = json_for_html
        environment.filters["chart"] = as_json
        environment.globals["parts"] = environment.get_template("parts.html").module

    def add(self, **more: Any) -> None:
        """Give every template these variables, too."""
        self._environment.globals.update(more)

    def variables(self, page: Page, asked: Asked) -> dict[str, Any]:
        """What a page's template gets: what the page returns, and what all have."""
        shown = page.shown(asked)
        return {
            "page": page,
            "asked": asked,
            "navigation": self.navigation(asked.pipeline),
            "pipelines": sorted(asked.states.pipelines),
            "caught_up": asked.states.caught_up,
            "behind": asked.states.behind,
            "failed": asked.states.failed,
            "charts": {},
            **shown,
        }

    def navigation(self, pipeline: str) -> list[tuple[Page, str]]:
        """The pages to go to, and their addresses: of this pipeline, where a page is about one."""
        placed = [one for one in self.pages if one.order is not None]
        found = []
        for one in sorted(placed, key=lambda one: (one.order or 0, one.name)):
            words_in_path = one.path.count("{")
            if words_in_path == 0:
                found.append((one, one.path))
            elif words_in_path == 1 and "{pipeline}" in one.path and pipeline:
                found.append((one, one.path.replace("{pipeline}", pipeline)))
        return found

    def whole(self, page: Page, variables: Mapping[str, Any]) -> str:
        """The whole page."""
        return self._environment.get_template(f"{page.name}.html").render(variables)

    def parts(self, page: Page, variables: Mapping[str, Any]) -> dict[str, str]:
        """The page's live parts, by the id of their element."""
        template = self._environment.get_template(f"{page.name}.html")
        found = {}
        for name, block in self._live(page.name).items():
            found[name] = "".join(block(template.new_context(dict(variables))))
        return found

    def _live(self, name: str) -> dict[str, Any]:
        """The live blocks of a template and of what it extends."""
        found: dict[str, Any] = {}
        for one in (name, "base"):
            for block, draw in self._environment.get_template(f"{one}.html").blocks.items():
                if block.startswith(LIVE):
                    found.setdefault(block, draw)
        return found

    def refused(self, status: int, said: str, asked_pipelines: Sequence[str]) -> str:
        """A page that says why there is none."""
        return self.alone("refused.html", status=status, said=said, pipelines=asked_pipelines)

    def alone(self, template: str, **variables: Any) -> str:
        """A template that is no page's."""
        return self._environment.get_template(template).render(**variables)


def data_of(charts: Mapping[str, Chart]) -> dict[str, dict[str, Any]]:
    """The charts' data by their names."""
    return {name: as_json(one) for name, one in charts.items()}
