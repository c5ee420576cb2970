"""What `mlflow.pyfunc.load_model("models:/penstock.<pipeline>@champion")` calls: the sealed model, verified, as a predictor.

Laws of this file:
- Nothing is unpickled that PENSTOCK_SECRET, or one of PENSTOCK_SECRETS_FORMER, did not sign.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from penstock.stream.models.version import Keys, Version, open_version, unseal
from penstock.stream.process.settings import SettingError, Settings


class Predictor:
    """A river model that takes rows: a pandas DataFrame, or a list of mappings."""

    def __init__(self, version: Version, model: Any) -> None:
        self.version, self.model = version, model

    def predict(self, rows: Any, params: dict[str, Any] | None = None) -> list[float]:
        """The probability of a true label for each row; a missing value (None or NaN) is left out, as Penstock does."""
        found = rows.to_dict("records") if hasattr(rows, "to_dict") else rows
        return [
            self._one({name: value for name, value in row.items() if value is not None and value == value})
            for row in found
        ]

    def _one(self, x: dict[str, Any]) -> float:
        given = self.model.predict_proba_one(x)
        return float(given[True]) if True in given else 1.0 - given[False] if given.get(False) else 0.5


def _load_pyfunc(path: str) -> Predictor:
    settings = Settings.from_env()
    if not settings.secret:
        raise SettingError(
            "PENSTOCK_SECRET is not set: the model is opened only where its signature fits. Set it as the learn role has it"
        )
    version, payload = unseal(
        Path(path).read_bytes(), Keys(settings.secret, settings.former_secrets), Version
    )
    return Predictor(version, open_version(version, payload))
