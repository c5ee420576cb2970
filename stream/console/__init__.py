"""The operators' console: pages that answer an on-call person's first minute, rendered on the server, and live.

How a page comes about: `reading/` follows the topics (the edge) and folds every record into `state.States` (pure); a page is a
function of that state (`pages/`), and a template draws what it returns. Nothing is kept that a restart would not read again.

To add a page, add two files, and nothing else:

1. `pages/NAME.py` with `PAGE = Page("NAME", "Title", "/pipelines/{pipeline}/NAME", shown, order=50)` (see `page.Page`). `shown`
   takes what was asked (`page.Asked`: the states, the pipeline, query, person, now) and returns the template's variables. It is
   pure. What must be asked of Kafka or Redis first is read by `reads=` (a function of `reading/NAME.py`, run in a thread, which
   asks `reading.servers.servers_of(sources)` and is bounded in time and bytes), and lies in `asked.read`. Raise `page.NotFound`
   for what is not there, with a whole sentence.
2. `templates/NAME.html`, which begins with `{% extends "base.html" %}` and fills `{% block main %}`. What changes while it is
   looked at stands in a block of its own in an element of the same id: `<div id="live_roles">{% block live_roles %} … {% endblock
   %}</div>`: such blocks are rendered again and sent when they have changed (`live.py`), so they use no variables of the template
   around them. Charts are `page.Chart`s in the variable `charts`, drawn by `{{ parts.chart(charts.NAME) }}`, with their table.

Words, shapes, times and positions are drawn by the macros of `templates/parts.html`, so that all pages say the same alike.
Numbers come from the functions that the command line uses (`operate.status_lines`, `operate.control_lines`, …).

Who asks is in `asked.person`: `who/` says who that is, and stands before every page. A page that takes posts has `posts=`, which
makes an `Asking` of what was posted and judges again who may; `posts.py` sends the request, once. The acts are in `act/`: what
they are called, which request a form makes, what it would do. All else here only reads.
"""
