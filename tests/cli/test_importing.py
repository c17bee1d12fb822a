import gc

import pytest

from geodamage import cli
from geodamage.cli.importing import importing


@pytest.mark.parametrize("was_enabled", [True, False])
def test_no_garbage_is_looked_for_while_modules_are_imported(was_enabled):
    if not was_enabled:
        gc.disable()
    try:
        with importing():
            assert not gc.isenabled()
        assert gc.isenabled() == was_enabled
    finally:
        gc.enable()


def test_a_program_that_ends_looks_for_no_garbage(monkeypatch):
    monkeypatch.setattr("sys.argv", ["geodamage", "--help"])
    before = gc.get_freeze_count()
    try:
        with pytest.raises(SystemExit):
            cli.run()
        assert gc.get_freeze_count() > before
    finally:
        gc.unfreeze()
