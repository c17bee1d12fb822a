import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from geodamage import __version__
from qgis_plugin.package import (
    ADDRESSES,
    LARGEST,
    PLUGIN,
    REQUIRED,
    PackageError,
    check_metadata,
    list_files,
    pack,
    read_metadata,
)

METADATA = "[general]\n" + "".join(
    f"{key}={value}\n"
    for key, value in {
        **dict.fromkeys(REQUIRED, "something"),
        "about": "External dependency: none.",
        "version": "1.2.3",
        "icon": "icon.svg",
    }.items()
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a smallest plugin that keeps the rules."""
    folder = tmp_path / "small"
    folder.mkdir()
    (folder / "metadata.txt").write_text(METADATA)
    (folder / "__init__.py").write_text("def classFactory(iface): ...\n")
    (folder / "LICENSE").write_text("free\n")
    (folder / "icon.svg").write_text("<svg/>\n")
    return folder


def test_the_script_packs_the_plugin(tmp_path: Path) -> None:
    script = PLUGIN.parent / "package.py"
    done = subprocess.run(
        [sys.executable, script, "-o", tmp_path], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    path = tmp_path / f"geodamage_qgis-{__version__}.zip"
    assert 0 < path.stat().st_size <= LARGEST
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
        assert archive.testzip() is None
    assert {name.split("/")[0] for name in names} == {"geodamage_qgis"}
    needed = ("LICENSE", "metadata.txt", "__init__.py", "icon.svg", "styles/damage.qml")
    assert {f"geodamage_qgis/{name}" for name in needed} <= set(names)
    assert not [name for name in names if "__pycache__" in name or name.endswith(".pyc")]


def test_metadata_says_what_qgis_needs_to_know() -> None:
    metadata = read_metadata(PLUGIN)
    assert metadata["version"] == __version__
    assert metadata["qgisMinimumVersion"] == "3.22"
    assert metadata["qgisMaximumVersion"] == "4.99"
    assert metadata["supportsQt6"] == "True"
    assert metadata["hasProcessingProvider"] == "yes"  # without it qgis_process does not look


def test_the_licence_is_the_gpl_and_every_source_says_so() -> None:
    assert "GNU GENERAL PUBLIC LICENSE" in (PLUGIN / "LICENSE").read_text()
    for path in [*PLUGIN.rglob("*.py"), *PLUGIN.parent.glob("*.py"), *PLUGIN.rglob("*.qml")]:
        head = path.read_text(encoding="utf-8")[:400]
        assert "SPDX-License-Identifier: GPL-2.0-or-later" in head, path.name


def test_equal_sources_give_equal_bytes(folder: Path, tmp_path: Path) -> None:
    first = pack(folder, tmp_path / "one").read_bytes()
    (folder / "LICENSE").touch()
    (folder / "__init__.py").chmod(0o600)
    (folder / "__pycache__").mkdir()
    (folder / "__pycache__" / "a.pyc").write_bytes(b"\0")
    (folder / ".hidden").write_text("x")
    assert pack(folder, tmp_path / "two").read_bytes() == first


@pytest.mark.parametrize("name", ["LICENSE", "icon.svg", "__init__.py"])
def test_a_missing_file_is_named(folder: Path, tmp_path: Path, name: str) -> None:
    (folder / name).unlink()
    with pytest.raises(PackageError, match=f"lacks {name}"):
        pack(folder, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", ["native.so", "model.onnx", "weights.txt"])
def test_binaries_are_refused(folder: Path, name: str) -> None:
    (folder / name).write_bytes(b"\x7fELF\0")
    with pytest.raises(PackageError, match="binaries"):
        list_files(folder)


def test_a_zip_that_is_too_large_is_refused(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("qgis_plugin.package.LARGEST", 100)
    with pytest.raises(PackageError, match="25 MB"):
        pack(folder, tmp_path / "out")
    assert list((tmp_path / "out").iterdir()) == []


@pytest.mark.parametrize("key", REQUIRED)
def test_each_required_entry_is_missed(folder: Path, key: str) -> None:
    metadata = read_metadata(folder)
    metadata[key] = " "
    with pytest.raises(PackageError, match=f"lacks {key}"):
        check_metadata(metadata)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("version", "one", "not like"),
        ("name", "Damage Plugin", "must not say"),
        ("about", "Fine.", "external dependencies"),
    ],
)
def test_other_rules_are_kept(folder: Path, key: str, value: str, message: str) -> None:
    with pytest.raises(PackageError, match=message):
        check_metadata({**read_metadata(folder), key: value})


def test_the_metadata_has_no_placeholders() -> None:
    assert "example." not in (PLUGIN / "metadata.txt").read_text(encoding="utf-8")


def test_an_upload_needs_addresses_that_are_real(folder: Path) -> None:
    metadata = read_metadata(folder)
    with pytest.raises(PackageError, match="--email, --repository, --tracker, --homepage"):
        check_metadata(metadata, for_upload=True)
    given = {**metadata, **dict.fromkeys(ADDRESSES, "https://example.org/issues")}
    with pytest.raises(PackageError, match="tracker, homepage is a placeholder"):
        check_metadata(given, for_upload=True)
    check_metadata({**metadata, **dict.fromkeys(ADDRESSES, "https://somewhere")}, for_upload=True)


def test_addresses_are_written_into_the_zip(tmp_path: Path) -> None:
    given = {name: f"https://somewhere/{name}" for name in ADDRESSES}
    path = pack(PLUGIN, tmp_path, for_upload=True, addresses=given)
    with zipfile.ZipFile(path) as archive:
        archive.extractall(tmp_path)
    metadata = read_metadata(tmp_path / PLUGIN.name)
    assert {name: metadata[name] for name in ADDRESSES} == given
    assert metadata["category"] == "Raster"  # where its menu is


def test_the_documentation_goes_along_without_pictures(tmp_path: Path) -> None:
    with zipfile.ZipFile(pack(PLUGIN, tmp_path)) as archive:
        text = archive.read("geodamage_qgis/README.md").decode()
    assert "## Review" in text
    assert "images/" not in text
    assert "[`LICENSE`](LICENSE)" in text


def test_what_is_no_metadata_is_refused(folder: Path) -> None:
    (folder / "metadata.txt").write_text("name=x\n")
    with pytest.raises(PackageError, match="not metadata"):
        read_metadata(folder)
