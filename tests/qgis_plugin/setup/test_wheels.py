import hashlib
import zipfile

import pytest
from geodamage_qgis.errors import PluginError
from geodamage_qgis.setup.wheels import Package, package_by_name, read_package

from tests.qgis_plugin.programs import make_wheel


def test_a_wheel_says_what_it_is_and_its_hash(tmp_path):
    path = make_wheel(tmp_path / "blank und größe")
    package = read_package(str(path))
    assert (package.path, package.version, package.requires) == (path, "0.1.0", ("numpy",))
    assert package.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()


def test_of_a_folder_the_newest_wheel_is_taken(tmp_path):
    for version in ("0.9.0", "0.10.0", "0.2.0"):
        make_wheel(tmp_path, version)
    make_wheel(tmp_path, name="numpy")
    assert read_package(tmp_path).version == "0.10.0"


def make_sources(folder):
    (folder / "geodamage").mkdir()
    (folder / "pyproject.toml").write_text("[project]\n")
    (folder / "geodamage" / "_version.py").write_text('__version__ = "0.4.0"\n')
    (folder / "geodamage" / "a.py").write_text("a = 1\n")


def test_the_sources_have_a_hash_that_changes_with_them(tmp_path):
    make_sources(tmp_path)
    package = read_package(tmp_path)
    assert (package.path, package.version) == (tmp_path, "0.4.0")
    (tmp_path / "README.md").touch()
    (tmp_path / "geodamage" / "__pycache__").mkdir()
    (tmp_path / "geodamage" / "__pycache__" / "a.pyc").touch()
    assert read_package(tmp_path).sha256 == package.sha256
    (tmp_path / "geodamage" / "a.py").rename(tmp_path / "geodamage" / "b.py")
    assert read_package(tmp_path).sha256 != package.sha256


def zipped(path):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.txt", "a")


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda path: None, "no such file or folder"),
        (lambda path: path.write_text("PK no wheel"), "is not a wheel"),
        (lambda path: path.touch(), "is not a wheel"),
        (zipped, "is not a wheel"),
        (lambda path: path.mkdir(), "neither a wheel of geodamage in it"),
    ],
)
def test_what_is_no_wheel_is_refused(tmp_path, make, message):
    path = tmp_path / "geodamage-0.1.0-py3-none-any.whl"
    make(path)
    with pytest.raises(PluginError, match=message):
        read_package(path)


def test_the_wheel_of_another_package_is_refused(tmp_path):
    path = make_wheel(tmp_path, name="numpy").rename(tmp_path / "geodamage-1-py3-none-any.whl")
    with pytest.raises(PluginError, match="a wheel of numpy, not of geodamage"):
        read_package(path)


def test_installing_by_name_is_off_until_it_is_switched_on():
    with pytest.raises(PluginError, match="not published yet"):
        package_by_name(allowed=False)
    assert package_by_name(allowed=True) == Package(None, "", "")
