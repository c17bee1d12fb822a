import sys
from pathlib import Path

import pytest
from geodamage_qgis.errors import PluginError
from geodamage_qgis.setup import makers
from geodamage_qgis.setup.makers import find_gpu, find_maker, pythons, uvs

from tests.qgis_plugin.programs import make_program, make_python

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="programs are shell scripts")


@pytest.fixture
def machine(monkeypatch, tmp_path):
    """Make a machine whose programs lie in one folder."""
    (tmp_path / "bin").mkdir()
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.setattr(Path, "home", lambda: tmp_path / "home")
    monkeypatch.setattr(makers, "usual_folders", lambda platform: [])
    return tmp_path / "bin"


def test_the_newest_python_is_taken(machine):
    make_program(machine / "python3", "print('[3, 11, 2]')")
    make_program(machine / "python3.13", "print('[3, 13, 5]')")
    found = find_maker()
    assert (found.kind, found.path, found.version) == ("python", machine / "python3.13", "3.13.5")
    assert str(found) == f"Python 3.13.5 ({machine / 'python3.13'})"


def test_a_python_that_does_not_work_is_passed_over(machine):
    make_program(machine / "python3.14", "raise SystemExit('not installed')")
    make_python(machine / "python3")
    assert find_maker().version == "3.12.1"


@pytest.mark.slow
def test_where_no_python_is_new_enough_uv_is_taken(machine):
    make_program(machine / "python3", "print('[3, 9, 18]')")
    make_program(machine / "uv", "print('uv 0.9.3 (2026-01-01)')")
    assert (find_maker().kind, find_maker().version) == ("uv", "0.9.3")


def test_where_there_is_nothing_the_message_says_where_to_get_it(machine):
    make_program(machine / "python3", "print('[3, 9, 18]')")
    with pytest.raises(PluginError, match=r"no Python 3\.11 .*python\.org.* uv") as caught:
        find_maker()
    assert "Python 3.9.18" in caught.value.details


def test_a_python_that_lacks_one_package_is_told_rather_than_none(machine):
    make_program(machine / "python3", "print('[3, 14, 0, \"no venv\"]')")
    make_program(machine / "python", "print('[3, 9, 18]')")
    with pytest.raises(PluginError, match="cannot make environments; install python3-venv"):
        find_maker()


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("print('[3, 10, 9]')", r"is Python 3\.10\.9, and geodamage needs 3\.11"),
        ("print('[3, 11, 2, \"no venv\"]')", "cannot make environments; install python3-venv"),
        ("print('hello')", "is not Python"),
        ("print('{}')", "is not Python"),
        ("raise SystemExit(1)", "does not work"),
    ],
)
def test_a_python_that_was_named_is_used_or_refused(machine, code, message):
    make_python(machine / "python3")
    named = make_program(machine / "mine", code)
    with pytest.raises(PluginError, match=message):
        find_maker(str(named))


def test_a_uv_that_was_named_must_be_one(machine):
    with pytest.raises(PluginError, match="is not uv"):
        find_maker(str(make_program(machine / "uv", "print('something')")))


def test_the_python_that_runs_this_can_make_environments():
    assert find_maker(sys.executable).version.startswith(f"3.{sys.version_info.minor}.")


def test_installed_pythons_are_found_on_windows(monkeypatch, tmp_path):
    for version in ("Python311", "Python313"):
        path = tmp_path / "Programs" / "Python" / version / "python.exe"
        path.parent.mkdir(parents=True)
        path.touch()
    monkeypatch.setenv("LOCALAPPDATA", str(tmp_path))
    monkeypatch.delenv("ProgramFiles", raising=False)
    monkeypatch.setenv("PATH", "")
    found = [path.parent.name for path in pythons("win32")]
    assert found[:2] == ["Python313", "Python311"]


def test_installed_uvs_are_found(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr(Path, "home", lambda: tmp_path)
    for name in ("uv", "uv.exe"):
        path = tmp_path / ".local" / "bin" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    assert [path.name for path in uvs("win32")] == ["uv.exe"]
    assert [path.name for path in uvs("darwin")] == ["uv"]


@pytest.mark.parametrize(
    ("code", "gpu"),
    [
        ("print('NVIDIA H200\\nNVIDIA H200')", "NVIDIA H200"),
        ("raise SystemExit('NVIDIA-SMI has failed')", None),
        ("pass", None),
    ],
)
def test_a_gpu_is_what_its_driver_reports(machine, code, gpu):
    assert find_gpu() is None
    make_program(machine / "nvidia-smi", code)
    assert find_gpu() == gpu
