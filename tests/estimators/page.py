"""Writes `docs/pages/reference/estimators.md` from the inventory and the lists of exceptions: `python -m tests.estimators.page`.

Laws of this file:
- A function of both alone. That each line is true is what `test_estimators` shows.
"""

from __future__ import annotations

from collections import defaultdict

from penstock.stream.task_kind import Kind
from tests.estimators import inventory, pipelines
from tests.estimators.course import ROOT, SAMPLES
from tests.estimators.exceptions import LAST_BIT, OTHER_DIGEST, REFUSED, STEPS, UNTRIED

PAGE = ROOT / "docs" / "pages" / "reference" / "estimators.md"
HEAD = """\
<!-- Written by tests/estimators/page.py from what is tested. Run `make docs` after a change; edits here are lost. -->

# River's estimators

**{passing} of {all} of river 0.26's classifiers, regressors and anomaly detectors pass, and all {pipelines} pipelines.**
Of the others Penstock refuses {refused} when the definition loads, {differ} differs in its digest alone, {last} after a
snapshot in its last bit, and {untried} could not be tried.

The inventory is river's own: every classifier, regressor and detector that it exports, with the parameters that river's own
checks use. Where those build large or slow models, or trees that would not grow in so short a stream, others stand in.
`make test` runs all of them over {samples} samples. Labels come up to 29 samples late. To pass means:

- **The same answers.** What the model says inside the fold is, to the last bit, what it says in river's
  `progressive_val_score` with the same delays. Compared is the model's own answer, before its task reads it: the
  [task](../how-to/choose-a-task.md) makes probabilities add up to 1, keeps a number within the labels' range widened by as much
  again, and makes a detector's score, or the class of a classifier without probabilities, a probability.
- **The same model.** After the last label, the digest of the model in the fold is that of the model that river trained.
- **The same again.** Interrupted by a snapshot in the middle and restored, and replayed from the log, all models have the same
  digests and all predictions the same bits, copies and fresh models among them. Another process gives the same as well: all that
  Penstock starts have `PYTHONHASHSEED=0`, which you set yourself where you fold in a process of your own.

Seeds that are left out are set to 0, so that the same log gives the same model.
"""


def text() -> str:
    """The page."""
    names = list(inventory.estimators())
    others = {**REFUSED, **OTHER_DIGEST, **LAST_BIT, **UNTRIED}
    kinds: dict[str, list[Kind]] = defaultdict(list)
    for case in [*inventory.cases(), *pipelines.cases()]:
        if case.kind not in kinds[case.estimator]:
            kinds[case.estimator].append(case.kind)
    numbers = {
        "passing": sum(name not in others for name in names),
        "all": len(names),
        "pipelines": len(pipelines.PIPELINES),
        "refused": len(REFUSED),
        "differ": len(OTHER_DIGEST),
        "last": len(LAST_BIT),
        "untried": len(UNTRIED),
        "samples": SAMPLES,
    }
    parts = [HEAD.format(**numbers)]
    parts += ["## Those that do not pass\n", "| Estimator | What happens | Why |\n|---|---|---|"]
    for what, reasons in (
        ("refused", REFUSED), ("another digest", OTHER_DIGEST), ("another last bit", LAST_BIT), ("not tried", UNTRIED),
    ):  # fmt: skip
        parts += [f"| `{name}` | {what} | {why} |" for name, why in reasons.items()]
    parts += ["\n## Steps to avoid\n"]
    parts += [f"- `{name}`: {why}" for name, why in STEPS.items()]
    parts += ["\n## Those that pass\n", "| Estimator | Tasks |\n|---|---|"]
    parts += [f"| `{name}` | {', '.join(kinds[name])} |" for name in names if name not in others]
    parts += [
        "\n## Pipelines\n",
        "Their stream has text and booleans among the numbers. All of them pass.\n",
        "| Pipeline | Tasks |\n|---|---|",
        *(f"| {name} | {', '.join(kinds[name])} |" for name in pipelines.PIPELINES),
    ]
    return "\n".join(parts) + "\n"


if __name__ == "__main__":
    PAGE.write_text(text())
