import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

SMOKE = Path(__file__).with_name("pyqt6_smoke.py")


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("PyQt6") is None, reason="PyQt6 is not installed")
def test_the_plugin_loads_under_a_real_pyqt6() -> None:
    done = subprocess.run(
        [sys.executable, SMOKE],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "QT_QPA_PLATFORM": "offscreen"},
    )
    assert done.returncode == 0, done.stderr
    assert "names of Qt are there" in done.stdout
