"""A report as one page of HTML that needs nothing else: no script, no picture, no font from elsewhere.

Laws of this file:
- Pure. The same report gives the same bytes, and they are well-formed XML.
- The page asks nobody for anything: its policy allows its own style sheet and nothing more.
- What others wrote stands in it as text alone.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable, Sequence
from html import escape
from math import isnan

from penstock.stream.operate.reporting import course_plot, shares_plot, timeline_plot
from penstock.stream.operate.reporting.incidents import Incident, causes, cost_in_words, length, moment
from penstock.stream.operate.reporting.report import Report
from penstock.stream.operate.reporting.style import STYLE
from penstock.stream.process.terminal import printable

MOST_CHARACTERS = 600


def said(text: str) -> str:
    """What somebody wrote, as text of the page."""
    shown = printable(text)
    return escape(shown if len(shown) <= MOST_CHARACTERS else f"{shown[:MOST_CHARACTERS]}…")


def page(report: Report) -> str:
    """The whole page."""
    title = f"{report.pipeline}, {moment(report.start)} to {moment(report.stop)}"
    if report.of is not None:
        title = f"{report.pipeline}: incident of {moment(report.of.since)}"
    allowed = base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()
    policy = f"default-src 'none'; style-src 'sha256-{allowed}'; base-uri 'none'; form-action 'none'"
    parts = [
        "<!DOCTYPE html>",
        '<html lang="en">',
        "<head>",
        '<meta charset="utf-8"/>',
        f'<meta http-equiv="Content-Security-Policy" content="{policy}"/>',
        '<meta name="viewport" content="width=device-width, initial-scale=1"/>',
        '<meta name="color-scheme" content="light dark"/>',
        f"<title>{said(title)}</title>",
        f"<style>{STYLE}</style>",
        "</head>",
        "<body>",
        "<main>",
        f"<h1>{said(title)}</h1>",
        _opening(report),
        *([] if report.of is None else _story(report, report.of)),
        *_course(report),
        *_happened(report),
        *([] if report.of is not None else _incidents(report)),
        *_shares(report),
        _closing(report),
        "</main>",
        "</body>",
        "</html>",
    ]
    return "\n".join(parts) + "\n"


def _opening(report: Report) -> str:
    whole = report.whole()
    lines = [f"{moment(report.start)} to {moment(report.stop)}, in event time (UTC)."]
    if whole["labels"] and whole["live"] is not None and whole["base"] is not None:
        line = (
            f"{whole['labels']:,} labels came. By each the live prediction lost {whole['live']:.3f} nats and the base rate "
            f"{whole['base']:.3f}"
        )
        if whole["committed"] is not None:
            line += f", the committed model by itself {whole['committed']:.3f}"
        lines.append(f"{line}.")
    else:
        lines.append("No labels came of samples in this range, so no losses are known.")
    if report.of is None:
        many = len(report.incidents)
        lines.append(
            "No incident was found."
            if not many
            else f"{many} incident{'s were' if many > 1 else ' was'} found."
        )
    if report.live is not None:
        version, committed = said(report.live.version), said(report.live.committed)
        both = (
            f"{version} is live and committed"
            if version == committed
            else f"{version} is live, and {committed} is committed"
        )
        lines.append(f"At the end {both}.")
    notes = "".join(f"<li>{said(note)}</li>" for note in report.notes)
    return f"<p>{' '.join(lines)}</p>" + (f'<ul class="notes">{notes}</ul>' if notes else "")


def _story(report: Report, incident: Incident) -> list[str]:
    """An incident: its story, and what to run."""
    command = next((one.data.command for one in reversed(incident.events) if one.data.command), "")
    drawn = [
        '<section aria-labelledby="story"><h2 id="story">What happened</h2>',
        f"<p><b>{said(incident.name)}</b>, episode <code>{said(incident.id)}</code>, {incident.severity}.</p>",
        *(f"<p>{said(line)}</p>" for line in report.story(incident)),
    ]
    if command:
        drawn.append(f"<p>By hand the last of it is done by:</p><pre>{said(command)}</pre>")
    return [*drawn, "</section>"]


def _course(report: Report) -> list[str]:
    means, step = report.means, length(report.step_ms)
    if not means:
        return []
    drawn = [
        '<section aria-labelledby="course"><h2 id="course">What was lost</h2>',
        "<figure>",
        course_plot.losses(means, step, report.start, report.stop, report.incidents),
        f"<figcaption>Mean log loss of every {step}, in nats a label: less is better. Solid is the live prediction, dashed the "
        "committed model by itself, dotted the base rate, which always says how often the answer was yes lately. "
        "A numbered bar above, and the shaded band under it, is an incident.</figcaption>",
        "</figure>",
    ]
    head = ("from", "labels", "live", "committed", "base rate")
    rows = [
        (
            moment(one.at - report.step_ms // 2),
            f"{one.labels:,}",
            f"{one.live:.3f}",
            "" if isnan(one.committed) else f"{one.committed:.3f}",
            f"{one.base:.3f}",
        )
        for one in means
    ]
    drawn.append(f"<details><summary>The same in figures</summary>{table(head, rows)}</details></section>")
    if len(report.weights) > 1:
        drawn += [
            '<section aria-labelledby="believed"><h2 id="believed">Who was believed</h2>',
            "<figure>",
            course_plot.weights(report.weights, report.start, report.stop, report.incidents),
            "<figcaption>The prediction is the weighted mean of several models; each label moves weight to those that were right."
            "</figcaption>",
            "</figure></section>",
        ]
    return drawn


def _happened(report: Report) -> list[str]:
    if report.of is None:
        found = [one for one in report.moments if one.at is None or report.start <= one.at < report.stop]
    else:
        found = report.done(report.of)
    title = "What was found and done" if report.of is None else "Step by step"
    drawn = [
        f'<section aria-labelledby="happened"><h2 id="happened">{title}</h2>',
        "<figure>",
        timeline_plot.timeline(report.moments, report.start, report.stop),
        "<figcaption>Found: what was published. Decided: what the policy or a person answered. Commanded: what stands in the "
        "samples log. In place: the committed version; a tick below is another one that took the lead.</figcaption>",
        "</figure>",
    ]
    numbers = {one.id: str(one.number) for one in report.incidents}
    rows = [
        (
            "no event time" if one.at is None else moment(one.at),
            numbers.get(one.episode, ""),
            one.lane,
            one.head,
            f"{one.said}{f' (by {one.by})' if one.by else ''}",
        )
        for one in found
    ]
    if rows:
        drawn.append(table(("when", "incident", "", "what", "why"), rows, words=True))
    else:
        drawn.append("<p>Nothing was found, asked for or carried out.</p>")
    return [*drawn, "</section>"]


def _incidents(report: Report) -> list[str]:
    if not report.incidents:
        return []
    drawn = ['<section aria-labelledby="incidents"><h2 id="incidents">Incidents</h2>']
    rows = []
    for one in report.incidents:
        cost = report.costs.get(one.id)
        nats = cost_in_words(one, cost)
        over = "still open" if one.over is None else length(one.over - one.since)
        found = "; ".join(causes(one)) or one.first.data.reason
        rows.append(
            (
                str(one.number),
                moment(one.since),
                length(one.found - one.since),
                over,
                one.name,
                found,
                nats,
                one.id,
            )
        )
    head = ("", "began", "found after", "lasted", "what", "found", "cost, nats", "episode")
    drawn.append(table(head, rows, words=True))
    drawn.append(
        "<p>The cost is what the live prediction lost while an incident lasted: with its standard error (±) beyond what clean "
        "data would have cost, without one beyond its mean of the days before. "
        "<code>penstock report FILE --episode ID</code> makes the page of one incident.</p>"
    )
    for one in report.incidents:
        lines = "".join(f"<p>{said(line)}</p>" for line in report.story(one))
        drawn.append(
            f"<details><summary>{one.number}: {said(one.name)}, {moment(one.since)}</summary>{lines}</details>"
        )
    return [*drawn, "</section>"]


def _shares(report: Report) -> list[str]:
    if not report.shares:
        return []
    drawn = ['<section aria-labelledby="shares"><h2 id="shares">How inputs moved</h2>', '<div class="grid">']
    for number, one in enumerate(report.shares, 1):
        (before, start), (_, stop) = one.spans
        reach = ""
        if one.reach is not None:
            (low, high), (least, most) = one.reach
            reach = f" Values from {least:,.6g} to {most:,.6g}, before {low:,.6g} to {high:,.6g}."
        thinned = f", of which every {max(one.every)}. was counted" if max(one.every) > 1 else ""
        drawn += [
            f"<figure><h3>{said(one.name)}</h3>",
            shares_plot.shares(f"shares{number}", one),
            f"<figcaption>{one.samples[1]:,} samples from {moment(one.spans[1][0])} to {moment(stop)}, beside {one.samples[0]:,} "
            f"from {moment(before)} to {moment(start)}{thinned}. PSI {one.psi:.3g}; by chance it would be about "
            f"{one.by_chance:.2g}.{reach}</figcaption></figure>",
        ]
    return [*drawn, "</div></section>"]


def _closing(report: Report) -> str:
    first, last = report.positions
    return (
        f"<footer><p>Everything here was computed from the records {first:,} to {last - 1:,} of "
        f"<code>{said(report.topic)}</code>, folded again with their commands, and from the control topics. The same log gives "
        "the same page.</p></footer>"
    )


def table(head: Sequence[str], rows: Iterable[Sequence[str]], *, words: bool = False) -> str:
    """A table; its cells are text. With `words` they are read from the left, otherwise they are figures."""
    top = "".join(f'<th scope="col">{said(cell)}</th>' for cell in head)
    body = "".join(f"<tr>{''.join(f'<td>{said(cell)}</td>' for cell in row)}</tr>" for row in rows)
    looks = "words" if words else "figures"
    return f'<div class="wide"><table class="{looks}"><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table></div>'
