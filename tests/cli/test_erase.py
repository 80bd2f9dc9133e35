"""Who may run `nealytics erase`; e2e/test_erasure.py runs it."""

import os
from pathlib import Path

import pytest

from nealytics.cli.erase import refuse_other_owner
from nealytics.errors import NealyticsError


def test_only_the_owner_of_the_data_directory_may_erase(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    refuse_other_owner(tmp_path)
    refuse_other_owner(tmp_path / "missing")
    monkeypatch.setattr(os, "geteuid", lambda: tmp_path.stat().st_uid + 1)
    with pytest.raises(NealyticsError, match=r"belongs to .*; run it as .*: sudo -u "):
        refuse_other_owner(tmp_path)
