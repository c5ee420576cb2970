"""Which tests of this folder need servers with TLS, and are run by `make test-security` alone."""

from __future__ import annotations

import os
import shutil

import pytest

from penstock.stream.stack.kafka import java_missing


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Without the servers, or without being asked for, those with TLS do not run."""
    why = java_missing() if not os.environ.get("CI") else None
    if shutil.which("openssl") is None:
        why = "no openssl to make certificates with"
    if not os.environ.get("PENSTOCK_TEST_SECURITY"):
        why = "takes minutes: `make test-security` runs it"
    for item in items:
        if why and "tests/security/test_tls.py" in item.nodeid:
            item.add_marker(pytest.mark.skip(reason=why))
