"""What an outcome means: its text, and the text of whatever of the user's it refers to."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from penstock.stream.definition_file import load
from tests.stream.test_definition_file import GOOD

OUTCOME = 'lambda e: e["fraud"]'
HELPED = GOOD.replace("pipeline = Pipeline(", "{above}\npipeline = Pipeline(").replace(OUTCOME, "{outcome}")
RULES = """\
import math
from limits import LIMITS

FACTOR = 2


class Rule:
    least = 3

    def holds(self, event):
        return scaled(event["amount"]) > LIMITS["amount"] + self.least


def scaled(amount):
    return math.floor(amount * FACTOR)


def is_fraud(event):
    return Rule().holds(event)


def unrelated(event):
    return None
"""
LIMITS = 'LIMITS = {"amount": 15}\nOTHER = 1\n'


def digest(folder: Path, above: str, outcome: str, rules: str = RULES, limits: str = LIMITS) -> str:
    (folder / "definition.py").write_text(HELPED.replace("{above}", above).replace("{outcome}", outcome))
    (folder / "rules.py").write_text(rules)
    (folder / "limits.py").write_text(limits)
    return load(folder / "definition.py").digest


WAYS = {
    "a function of the module": ("from rules import is_fraud", "is_fraud"),
    "a call in a lambda": ("from rules import is_fraud", "lambda e: is_fraud(e)"),
    "the module's name": ("import rules", "lambda e: rules.is_fraud(e)"),
    "a partial": (
        "import functools, rules\ndef asked(kind, e): return rules.is_fraud(e)",
        "functools.partial(asked, 'a')",
    ),
    "a method": ("from rules import Rule", "Rule().holds"),
    "a closure": (
        "import rules\ndef made(rule):\n    return lambda e: rule(e)",
        "made(rules.is_fraud)",
    ),
    "a wrapped function": (
        "import functools, rules\ncached = functools.lru_cache(rules.is_fraud)",
        "lambda e: cached(e)",
    ),
}
EDITS = {
    "a function that is called": ("math.floor(amount", "math.ceil(amount"),
    "a constant": ("FACTOR = 2", "FACTOR = 3"),
    "a method's text": ('event["amount"]) >', 'event["amount"]) >='),
}


@pytest.mark.parametrize("edit", EDITS)
@pytest.mark.parametrize("way", WAYS)
def test_an_edit_of_what_an_outcome_refers_to_changes_the_digest(way: str, edit: str, tmp_path: Path) -> None:
    above, outcome = WAYS[way]
    old, new = EDITS[edit]
    assert old in RULES
    before = digest(tmp_path, above, outcome)
    assert digest(tmp_path, above, outcome, rules=RULES.replace(old, new)) != before
    assert digest(tmp_path, above, outcome, limits=LIMITS.replace("15", "16")) != before
    assert digest(tmp_path, above, outcome, rules=RULES.replace("return None", "return True")) == before
    assert digest(tmp_path, above, outcome, limits=LIMITS.replace("OTHER = 1", "OTHER = 2")) == before


def test_functions_and_constants_of_the_definition_itself_count_too(tmp_path: Path) -> None:
    found = {
        digest(tmp_path, f"LEAST = {least}\ndef large(e): return e['amount'] {sign} LEAST", "large")
        for least in (1, 2)
        for sign in "<>"
    }
    assert len(found) == 4


def test_an_outcome_that_refers_to_nothing_means_its_own_text_alone(tmp_path: Path) -> None:
    digest(tmp_path, "LEAST = 3", OUTCOME)
    outcome = load(tmp_path / "definition.py").describe()["label"]["outcome"]
    assert outcome == 'label=Label(paid, lambda e: e["fraud"], fields=("fraud",)),'


def test_what_changes_while_it_runs_does_not_change_what_it_means(tmp_path: Path) -> None:
    digest(tmp_path, "SEEN = []\ndef noted(e):\n    SEEN.append(e)\n    return True", "noted")
    pipeline = load(tmp_path / "definition.py")
    before = pipeline.describe()
    pipeline.label.outcome({"amount": 1})
    assert pipeline.describe() == before


def test_another_process_and_another_hash_seed_give_the_same_digest(tmp_path: Path) -> None:
    above = (
        "KINDS = {'a', 'b', 'c', 'd'}\nimport functools\ndef one(kinds, e): return e['kind'] in kinds | KINDS"
    )
    here = digest(tmp_path, above, "functools.partial(one, frozenset('xyz'))")
    line = [sys.executable, "-m", "penstock.stream.cli", "check", str(tmp_path / "definition.py"), "--json"]
    ended = subprocess.run(line, capture_output=True, text=True, check=True)
    assert json.loads(ended.stdout)["recipe"] == here
