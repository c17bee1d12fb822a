import sys

import pytest

from geodamage.errors import MissingExtraError
from training.extras import optional


def test_a_package_that_is_there_is_imported():
    assert optional("csv", "train").DictReader


def test_a_missing_package_names_its_extra():
    with pytest.raises(
        MissingExtraError, match=r'^no_such is not.*"\.\[tracking\]" in your clone of geodamage$'
    ):
        optional("no_such.part", "tracking")


def test_what_is_missing_inside_a_package_is_another_error(tmp_path, monkeypatch):
    (tmp_path / "hollow_package.py").write_text("import no_such_module")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ModuleNotFoundError, match="no_such_module") as caught:
        optional("hollow_package", "train")
    assert not isinstance(caught.value, MissingExtraError)
    sys.modules.pop("hollow_package", None)
