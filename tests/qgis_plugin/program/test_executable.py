import re
import sys
from pathlib import Path

import pytest
from geodamage_qgis.errors import MissingError, PluginError
from geodamage_qgis.program import executable
from geodamage_qgis.program.executable import (
    Executable,
    ask,
    find_executable,
    inspect,
    interpreter_of,
    on_path,
    python_in,
    question,
    script_in,
    usual_folders,
)

from geodamage import __version__
from tests.qgis_plugin.programs import make_geodamage, make_program

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="programs are shell scripts")

HERE = Path(sys.executable).with_name("geodamage")


@pytest.fixture
def bare(monkeypatch, tmp_path):
    """Make a machine on which there is no geodamage."""
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    monkeypatch.setattr(Path, "home", lambda: tmp_path / "home")
    monkeypatch.setattr(executable, "usual_folders", lambda platform="linux": [])
    return tmp_path


def test_the_program_of_the_settings_comes_first(bare, monkeypatch):
    named = make_geodamage(bare / "größe und blank" / "geodamage", "0.3.1")
    make_geodamage(script_in(bare / "environment"))
    found = find_executable(str(named), bare / "environment")
    assert found == Executable(named, "0.3.1", "setting")
    assert str(found) == f"geodamage 0.3.1, named in the settings: {named}"


def test_a_folder_in_the_settings_is_searched(bare):
    named = make_geodamage(script_in(bare / "venv"))
    assert find_executable(str(bare / "venv"), bare / "none").path == named
    assert find_executable(str(named.parent), bare / "none").path == named
    (bare / "empty").mkdir()
    with pytest.raises(PluginError, match="no geodamage in this folder"):
        find_executable(str(bare / "empty"), bare / "none")


def test_the_plugins_own_comes_before_the_search_path(bare, monkeypatch):
    own = make_geodamage(script_in(bare / "environment"))
    monkeypatch.setenv("PATH", str(make_geodamage(bare / "bin" / "geodamage").parent))
    assert find_executable(None, bare / "environment") == Executable(own, "0.1.0", "environment")
    assert find_executable("", bare / "none").origin == "path"


def test_where_there_is_none_the_message_says_what_to_do(bare):
    with pytest.raises(MissingError, match=r"GeoDamage > Set up.*make an environment"):
        find_executable(None, bare / "environment")


def test_a_named_program_is_never_replaced_by_another(bare, monkeypatch):
    monkeypatch.setenv("PATH", str(make_geodamage(bare / "bin" / "geodamage").parent))
    with pytest.raises(PluginError, match="no such file"):
        find_executable(str(bare / "gone"), bare / "none")


@pytest.mark.parametrize("break_it", [Path.unlink, lambda path: path.write_text("#!/nowhere\n")])
def test_a_damaged_environment_says_that_it_can_be_repaired(bare, break_it, monkeypatch):
    monkeypatch.setenv("PATH", str(make_geodamage(bare / "bin" / "geodamage").parent))
    break_it(make_geodamage(script_in(bare / "environment")))
    with pytest.raises(PluginError, match=r"environment is damaged: .*repair or remove"):
        find_executable(None, bare / "environment")


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("print('ls (GNU coreutils) 9.1')", r"is not geodamage: .*'ls \(GNU coreutils\) 9\.1'"),
        ("pass", "is not geodamage: .*'nothing'"),
        ("print('geodamage, version 0.0.9')", r"0\.0\.9, and the plugin needs 0\.1\.0 or newer"),
        ("raise SystemExit('no module named rasterio')", "does not work: no module named rasterio"),
        ("raise SystemExit(3)", "does not work: it ended with code 3"),
    ],
)
def test_a_program_that_cannot_be_used_is_refused_in_one_line(tmp_path, code, message):
    path = make_program(tmp_path / "program", code)
    with pytest.raises(PluginError, match=message) as caught:
        question(path)
    assert "\n" not in str(caught.value)


def test_a_program_that_is_not_one_is_refused(tmp_path):
    (tmp_path / "text").write_text("hello")
    with pytest.raises(PluginError, match="cannot be started: Permission denied"):
        question(tmp_path / "text")
    (tmp_path / "text").chmod(0o755)
    with pytest.raises(PluginError, match="cannot be started: Exec format error"):
        question(tmp_path / "text")


@pytest.mark.parametrize("version", ["0.1.0", "0.1.0rc1", "0.2.0.dev3+g12", "1.0", "10.0.0"])
def test_newer_programs_are_taken(tmp_path, version):
    assert question(make_geodamage(tmp_path / "geodamage", version)).version == version


def test_a_program_that_does_not_answer_is_given_up(tmp_path):
    with pytest.raises(PluginError, match="does not answer for 0 s"):
        ask([sys.executable, "-c", "import time; time.sleep(60)"], seconds=0.3)


@pytest.mark.slow
@pytest.mark.skipif(not HERE.exists(), reason="geodamage is not installed beside this Python")
def test_the_real_program_says_what_runs():
    assert question(HERE).version == __version__
    found = inspect(HERE)
    assert found.packages["geodamage"] == __version__
    assert found.error is None
    assert re.match(r"CPU, (ONNX Runtime|OpenVINO) \d", found.provider)


def test_the_python_of_a_script_is_found_by_its_first_lines(tmp_path):
    long = make_geodamage(tmp_path / "bin" / "geodamage")
    assert interpreter_of(long) == Path(sys.executable)
    short = tmp_path / "bin" / "short"
    short.write_text(f"#!{sys.executable}\nimport sys\n")
    assert interpreter_of(short) == Path(sys.executable)


def test_the_python_of_an_environment_lies_beside_the_script(tmp_path):
    script = make_geodamage(script_in(tmp_path / "venv"))
    (tmp_path / "venv" / "pyvenv.cfg").touch()
    python_in(tmp_path / "venv").touch()
    assert interpreter_of(script) == python_in(tmp_path / "venv")
    link = tmp_path / "link"
    link.symlink_to(script)
    assert interpreter_of(link) == python_in(tmp_path / "venv")


def test_a_program_without_a_python_is_said_to_be_one(tmp_path):
    (tmp_path / "geodamage").write_bytes(b"\x7fELF\x00\xff")
    assert interpreter_of(tmp_path / "geodamage") is None
    with pytest.raises(PluginError, match="which Python"):
        inspect(tmp_path / "geodamage")


def test_windows_and_macos_have_their_own_places(tmp_path, monkeypatch):
    environment = Path("environment")
    assert script_in(environment, "win32") == environment / "Scripts" / "geodamage.exe"
    assert python_in(environment, "win32") == environment / "Scripts" / "python.exe"
    assert script_in(environment, "darwin") == environment / "bin" / "geodamage"
    assert Path("/opt/homebrew/bin") in usual_folders("darwin")
    assert usual_folders("win32") == []


def test_a_desktop_with_a_short_search_path_still_finds_the_users_programs(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    monkeypatch.setattr(Path, "home", lambda: tmp_path)
    path = make_geodamage(tmp_path / ".local" / "bin" / "geodamage")
    assert next(on_path("darwin")) == path
