"""What a comparison says, in plain words.

Laws of this file:
- Pure. Log loss is told in nats, an error of numbers as the mean absolute error in the label's own unit.
"""

from __future__ import annotations

from collections.abc import Sequence

from penstock.stream.operate.losses_by_task import Losses
from penstock.stream.operate.parts import Part


def verdict(parts: Sequence[Part], worth: float = 0.0) -> str:
    """The comparison in one or two plain sentences; differences below `worth` are said to be small (`Columns.worth`)."""
    if not parts:
        return (
            "No event of the range was predicted by both sides and has a label: there is nothing to compare."
        )
    whole = parts[0]
    found = whole.compared
    labels = f"On {found.labels:,} label{'s' * (found.labels != 1)}"
    if whole.live_loss == whole.changed_loss and found.low == found.high:
        return (
            f"{labels} the changed definition {'loses' if whole.by.unit else 'errs by'} exactly as much as what was live: "
            "there is no difference."
        )
    side, size = "less" if found.difference < 0 else "more", amount(abs(found.difference), whole.by)
    if not float(size):
        size = "less than 0.0001"
    said = f"{labels} the changed definition loses {size} {whole.by.unit} a label {side}"
    if not whole.by.unit:
        said = f"{labels} the changed definition's mean absolute error is {size} {side}"
    if found.low is None or found.high is None:
        return f"{said}: too few labels to judge by."
    low, high = sorted((found.low, found.high) if found.difference > 0 else (-found.high, -found.low))
    bounds = f"{amount(low, whole.by)} to {amount(high, whole.by)}"
    said += f" (95 % interval {bounds}, e-value {e_value(found.log10_e)}): "
    return f"{said}{_judged(whole, worth)}. {_by_month(parts)}".strip()


def _judged(whole: Part, worth: float) -> str:
    """What the evidence is worth."""
    found = whole.compared
    if not found.enough:
        return (
            f"no single answer, as the difference keeps moving for longer than {found.block_labels:,} labels"
        )
    if not found.clear:
        return "that can be chance"
    acted = "that drift is acted on" if whole.by.unit else "that would be worth acting on"
    small = f", though by less than the {amount(worth, whole.by)} {acted}"
    return f"it is {'better' if found.difference < 0 else 'worse'}{small if abs(found.difference) < worth else ''}"


def _by_month(parts: Sequence[Part]) -> str:
    months = [part.compared for part in parts if part.of == "month"]
    if len(months) < 2:
        return ""
    clear = [month for month in months if month.clear]
    better = sum(month.difference < 0 for month in clear)
    return (
        f"By month: better in {better} of {len(months)}, worse in {len(clear) - better}, "
        f"not clear in {len(months) - len(clear)}."
    )


def amount(size: float, by: Losses, sign: str = "") -> str:
    """A loss or a difference of losses: of nats four decimals, of the label's unit four digits; `sign` as of a format.

    >>> from penstock.stream.operate.losses_by_task import OfNumbers, OfTrue
    >>> amount(0.01234567, OfTrue(), "+"), amount(1234.567, OfNumbers()), amount(0.0, OfNumbers())
    ('+0.0123', '1235', '0')
    """
    return f"{size:{sign}.4{'f' if by.unit else 'g'}}"


def e_value(log10_e: float) -> str:
    """An e-value that can be read.

    >>> e_value(41.3), e_value(1.5), e_value(-0.7)
    ('10^41', '32', '0.2')
    """
    return f"10^{log10_e:.0f}" if log10_e >= 4 else f"{10**log10_e:.2g}"
