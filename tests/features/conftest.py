"""Fixtures of the feature tests."""

import importlib.util
from collections.abc import Iterator

import pytest


@pytest.fixture(scope="module", params=["python", "native"])
def each_engine(request: pytest.FixtureRequest) -> Iterator[str]:
    """Run a module's tests once on each engine; a module, because Hypothesis wants no fixture for every function."""
    if request.param == "native" and importlib.util.find_spec("penstock.features.engine.native") is None:
        pytest.skip("the extension was not built")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PENSTOCK_ENGINE", request.param)
        yield request.param
