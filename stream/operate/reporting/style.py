"""The style sheet of a report's page: light and dark by what the reader prefers, and black on white when printed.

Laws of this file:
- Text has at least 4.5 to 1 of contrast, and parts of pictures 3 to 1, on their own ground (WCAG 2.2 AA).
- Colour never says anything alone: dashes, patterns, shapes and words say it, too.
"""

from __future__ import annotations

LIGHT = (
    "--page:#fff;--ink:#1d2329;--quiet:#59626d;--rule:#d5d9de;--soft:#f3f5f7;--live:#b4451f;--committed:#1f5fa8;--base:#59626d;"
    "--critical:#b3261e;--warning:#8a5a00;--band:#b3261e;--first:#9cc3ee;--frozen:#93d3c6;--resumed:#c3b8ee;--careful:#f0b294;"
    "--new:#ecd08a;--base-area:#c6cbd1;--mark:#1d2329;--is:#1f5fa8"
)
DARK = (
    "--page:#15191e;--ink:#e8ebee;--quiet:#a3acb6;--rule:#39414a;--soft:#1e242b;--live:#f09a72;--committed:#7fb2ec;--base:#a3acb6;"
    "--critical:#ff8a80;--warning:#e5b454;--band:#ff8a80;--first:#2b5c92;--frozen:#1f6b60;--resumed:#56489c;--careful:#94482a;"
    "--new:#80621b;--base-area:#4a525c;--mark:#e8ebee;--is:#7fb2ec"
)
STYLE = (
    f":root{{{LIGHT}}}@media (prefers-color-scheme:dark){{:root{{{DARK}}}}}"
    """
body{margin:0;background:var(--page);color:var(--ink);font:16px/1.5 system-ui,sans-serif}
main{max-width:1000px;margin:0 auto;padding:24px 20px 48px}
h1{font-size:1.6rem;line-height:1.25;margin:0 0 12px}
h2{font-size:1.2rem;margin:36px 0 8px}
h3{font-size:1rem;margin:0 0 4px;overflow-wrap:anywhere}
p{margin:0 0 10px;max-width:75ch;overflow-wrap:anywhere}
figure{margin:8px 0 16px}
figcaption,footer{color:var(--quiet);font-size:.875rem;max-width:90ch}
footer{margin-top:40px;border-top:1px solid var(--rule);padding-top:10px}
pre,code{font:.875em/1.5 ui-monospace,monospace}
pre{background:var(--soft);padding:10px 12px;white-space:pre-wrap;overflow-wrap:anywhere}
.notes{color:var(--quiet)}
.grid{display:grid;grid-template-columns:repeat(auto-fill,minmax(400px,1fr));gap:8px 24px}
.wide{overflow-x:auto}
table{border-collapse:collapse;font-size:.875rem;margin:8px 0}
th,td{padding:4px 12px 4px 0;border-bottom:1px solid var(--rule);vertical-align:top;text-align:right}
.words th,.words td{text-align:left}
.words td{overflow-wrap:break-word}
.words td:nth-child(-n+3){white-space:nowrap}
.figures td:first-child,.figures th:first-child{text-align:left}
th{color:var(--quiet);font-weight:600}
summary{cursor:pointer;padding:4px 0}
summary:focus-visible{outline:2px solid var(--committed)}
svg{display:block;width:100%;height:auto;font:12px system-ui,sans-serif}
svg text{fill:var(--ink)}
svg .small{font-size:11px;fill:var(--quiet)}
svg .number{font-weight:600}
svg .rule{stroke:var(--rule)}
svg .tick{stroke:var(--quiet)}
svg .line{fill:none;stroke-width:1.8}
svg .line.live{stroke:var(--live);stroke-width:2.6}
svg .line.committed{stroke:var(--committed)}
svg .line.base{stroke:var(--base);stroke-width:2}
svg .name{font-weight:600}
svg .name.live{fill:var(--live)}
svg .name.committed{fill:var(--committed)}
svg .name.base{fill:var(--base)}
svg .incident{fill:var(--quiet)}
svg .incident.critical{fill:var(--critical)}
svg .incident.warning{fill:var(--warning)}
svg .band{fill:var(--band);opacity:.1}
svg .area{stroke:var(--quiet);stroke-width:.6}
svg .mark{stroke:var(--mark);stroke-width:1;opacity:.35;fill:none}
svg .dot{fill:var(--mark);opacity:.4}
svg .of-first{fill:var(--first)}
svg .of-frozen{fill:var(--frozen)}
svg .of-resumed{fill:var(--resumed)}
svg .of-careful{fill:var(--careful)}
svg .of-new{fill:var(--new)}
svg .of-base{fill:var(--base-area)}
svg .on-area{font-weight:600;stroke:var(--page);stroke-width:4;paint-order:stroke;stroke-linejoin:round}
svg .hatch{stroke:var(--quiet);stroke-width:1.4;fill:none}
svg .was{stroke:var(--quiet)}
svg .is{fill:var(--is)}
svg .solid{fill:var(--ink);stroke:var(--ink)}
svg .hollow{fill:var(--page);stroke:var(--ink);stroke-width:1.6}
svg .cross{stroke:var(--critical);stroke-width:2.4;fill:none}
svg .bar{fill:var(--soft);stroke:var(--quiet)}
svg .bar.other{fill:var(--rule)}
svg .on-bar{font-size:11px;font-weight:600}
@media print{"""
    f":root{{{LIGHT}}}"
    """body{font-size:11pt}main{max-width:none;padding:0}section,figure,tr{break-inside:avoid}h2,h3{break-after:avoid}
.grid{grid-template-columns:1fr 1fr}}
"""
)
