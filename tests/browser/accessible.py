"""What axe finds wrong with a page, as lines that a failed test can show; and what a keyboard reaches."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from playwright.sync_api import Page

RULES = ("wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice")
COLOURS = ("color-contrast", "link-in-text-block")
"""The rules that light and dark may break differently."""


def barriers(page: Page, colours_alone: bool = False) -> list[str]:
    """Every place where the page breaks a rule of WCAG 2.2 A or AA, or a best practice, that a program can see."""
    from axe_playwright_python.sync_playwright import Axe

    options: dict[str, Any] = {
        "runOnly": {"type": "tag", "values": list(RULES)},
        "rules": {"target-size": {"enabled": True}},
    }
    if colours_alone:
        options = {"runOnly": {"type": "rule", "values": list(COLOURS)}}
    found = Axe().run(page, options=options).response["violations"]
    return [
        f"{rule['id']} ({rule['impact']}): {rule['help']}: {node['target']} {node['html'][:200]}"
        for rule in found
        for node in rule["nodes"]
    ]


class Reached(NamedTuple):
    """What the Tab key came to on its way through a page, and what not; `unseen` had no outline, `covered` lay under others."""

    missed: list[str]
    unseen: list[str]
    covered: list[str]


# Of radio buttons of one name Tab reaches one, and the arrows the others.
_WANTED = """() => {
  const radio = new Set(), all = 'a[href], button, input, select, textarea, summary, [tabindex="0"]';
  window.wanted = [...document.querySelectorAll(all)].filter((one) => {
    if (one.disabled || one.tabIndex < 0 || one.type === 'hidden') return false;
    if (!one.checkVisibility({ visibilityProperty: true })) return false;
    if (one.closest('details:not([open])') && one.tagName !== 'SUMMARY') return false;
    if (one.type !== 'radio') return true;
    const known = radio.has(one.name);
    radio.add(one.name);
    return !known;
  });
  window.reached = new Set(); window.unseen = []; window.covered = [];
  const name = (one) => one.outerHTML.slice(0, 160);
  const same = (one) => one.type === 'radio' && window.wanted.find((other) => other.name === one.name) || one;
  document.addEventListener('focusin', ({ target }) => {
    window.reached.add(same(target));
    const style = getComputedStyle(target), box = target.getBoundingClientRect();
    if (style.outlineStyle === 'none' || parseFloat(style.outlineWidth) === 0) window.unseen.push(name(target));
    const left = Math.max(box.left, 0), right = Math.min(box.right, innerWidth);
    const top = Math.max(box.top, 0), bottom = Math.min(box.bottom, innerHeight);
    const points = [[(left + right) / 2, (top + bottom) / 2], [left + 2, top + 2], [right - 2, bottom - 2]];
    const on = points.map(([x, y]) => document.elementFromPoint(x, y));
    if (!on.some((one) => one && (target.contains(one) || one.contains(target)))) window.covered.push(name(target));
  });
  return window.wanted.length;
}"""
_MISSED = "window.wanted.filter((one) => one.isConnected && !window.reached.has(one)).map((one) => one.outerHTML.slice(0, 160))"


def reached(page: Page) -> Reached:
    """Press Tab from the top of the page to its end."""
    page.evaluate("document.activeElement && document.activeElement.blur()")
    wanted = page.evaluate(_WANTED)
    for _ in range(wanted + 4):
        page.keyboard.press("Tab")
    return Reached(page.evaluate(_MISSED), page.evaluate("window.unseen"), page.evaluate("window.covered"))
