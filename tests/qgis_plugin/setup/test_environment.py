import os
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
from geodamage_qgis.errors import CancelledError, PluginError
from geodamage_qgis.program.executable import find_executable, python_in, script_in
from geodamage_qgis.program.runner import Run
from geodamage_qgis.setup import environment
from geodamage_qgis.setup.environment import (
    Cancellation,
    Plan,
    check_space,
    create,
    describe,
    read_record,
    remove,
    repair,
    requirement,
    step_of,
)
from geodamage_qgis.setup.makers import Maker, find_maker
from geodamage_qgis.setup.wheels import package_by_name, read_package

from tests.qgis_plugin.programs import make_program, make_python, make_wheel

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="programs are shell scripts")


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "profil für Łódź" / "environment"


@pytest.fixture
def plan(tmp_path):
    maker = Maker("python", make_python(tmp_path / "python3.12"), "3.12.1")
    return Plan(read_package(make_wheel(tmp_path / "wheels")), maker)


def finish(work):
    """Return the events of some work, and its result."""
    events = []
    while True:
        try:
            events.append(next(work))
        except StopIteration as stop:
            return events, stop.value


def asked(folder):
    """Return what pip was asked for."""
    return folder.with_name(f"{folder.name}.asked").read_text().splitlines()


@pytest.mark.slow
def test_an_environment_is_made_and_answers(folder, plan):
    events, executable = finish(create(folder, plan))
    assert executable == find_executable(None, folder)
    assert executable.path == script_in(folder)
    assert describe(folder) == "ready"
    fractions = [event.fraction for event in events if event.fraction is not None]
    assert fractions == sorted(fractions)
    assert fractions[-1] == 1
    assert [event.kind for event in events].count("done") == 1
    assert "Collecting numpy>=1.26" in [event.text for event in events if event.kind == "progress"]
    record = read_record(folder)
    assert record["sha256"] == plan.package.sha256
    assert Path(record["path"]).read_bytes() == plan.package.path.read_bytes()
    assert not (folder / "tmp").exists()
    assert not folder.with_name("environment.lock").exists()


@pytest.mark.slow
def test_pip_is_asked_for_the_wheel_with_its_hash_and_the_extras(folder, plan):
    finish(create(folder, replace(plan, extra="gpu")))
    wanted = asked(folder)[-1]
    assert wanted.startswith("geodamage[gpu,report] @ file:///")
    assert wanted.endswith(f"-any.whl#sha256={plan.package.sha256}")
    assert "%20" in wanted
    assert "--no-index" not in asked(folder)


def test_without_a_network_all_comes_from_the_wheels_folder(folder, plan):
    finish(create(folder, replace(plan, offline=True, report=False)))
    words = asked(folder)
    assert words[words.index("--find-links") + 1] == str(plan.package.path.parent)
    assert "--no-index" in words
    assert words[-1].startswith("geodamage[cpu] @ ")


@pytest.mark.slow
def test_by_name_only_the_name_is_asked_for(folder, plan):
    package = package_by_name(allowed=True)
    finish(create(folder, replace(plan, package=package)))
    assert asked(folder)[-1] == "geodamage[cpu,report]"
    with pytest.raises(PluginError, match="choose the folder of the wheels"):
        finish(create(folder.parent / "b", replace(plan, package=package, offline=True)))


def test_sources_are_installed_from_their_folder(plan, tmp_path):
    package = replace(plan.package, path=tmp_path)
    assert (
        requirement(replace(plan, package=package))
        == f"geodamage[cpu,report] @ {tmp_path.as_uri()}"
    )


@pytest.mark.parametrize("how", ["fail", "no program"])
def test_nothing_is_left_of_an_environment_that_failed(folder, plan, how, monkeypatch):
    if how == "no program":
        monkeypatch.setattr(environment, "script_in", lambda folder: folder / "nothing")
    failing = replace(plan, variables={"FAKE_PIP": how})
    with pytest.raises(PluginError) as caught:
        finish(create(folder, failing))
    if how == "fail":
        assert "could not be made: numpy was not found" in str(caught.value)
        assert "No matching distribution" in caught.value.details
    assert [path.name for path in folder.parent.iterdir()] == ["environment.asked"]


@pytest.mark.timeout(60)
def test_cancel_leaves_nothing(folder, plan):
    cancellation = Cancellation()
    waiting = replace(plan, variables={"FAKE_PIP": "wait"})
    work = create(folder, waiting, cancellation=cancellation)
    next(event for event in work if event.text.startswith("Collecting"))
    cancellation.cancel()
    with pytest.raises(CancelledError, match="no environment was made"):
        finish(work)
    assert [path.name for path in folder.parent.iterdir()] == ["environment.asked"]


def test_a_loop_that_is_left_leaves_nothing(folder, plan):
    work = create(folder, replace(plan, variables={"FAKE_PIP": "wait"}))
    next(event for event in work if event.text.startswith("Collecting"))
    work.close()
    assert [path.name for path in folder.parent.iterdir()] == ["environment.asked"]


def test_what_was_cancelled_before_it_began_does_nothing(folder, plan):
    cancellation = Cancellation()
    cancellation.cancel()
    with pytest.raises(CancelledError):
        finish(create(folder, plan, cancellation=cancellation))
    assert list(folder.parent.iterdir()) == []


@pytest.mark.slow
def test_an_environment_is_not_made_twice(folder, plan):
    finish(create(folder, plan))
    with pytest.raises(PluginError, match="there already; repair or remove"):
        finish(create(folder, plan))
    assert describe(folder) == "ready"


def test_two_at_a_time_keep_apart(folder, plan):
    first = create(folder, plan)
    next(first)
    with pytest.raises(PluginError, match=r"another QGIS is making|there already"):
        finish(create(folder, plan))
    lock = folder.with_name("environment.lock")
    assert lock.exists()
    first.close()
    assert not lock.exists()


@pytest.mark.slow
def test_the_lock_of_a_qgis_that_is_gone_is_broken(folder, plan):
    lock = folder.with_name("environment.lock")
    folder.parent.mkdir(parents=True)
    lock.touch()
    with pytest.raises(PluginError, match="another QGIS is making"):
        finish(create(folder, plan))
    old = time.time() - environment.STALE - 1
    os.utime(lock, (old, old))
    finish(create(folder, plan))
    assert describe(folder) == "ready"


def test_a_full_disk_is_noticed_before(folder, plan, monkeypatch):
    usage = environment.shutil.disk_usage("/")
    monkeypatch.setattr(environment.shutil, "disk_usage", lambda _: usage._replace(free=1e8))
    with pytest.raises(PluginError, match=r"0\.1 GB .*1\.5 GB"):
        finish(create(folder, plan))
    assert not folder.exists()


def test_a_place_that_cannot_be_used_is_an_error(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(PluginError, match="cannot be used: "):
        check_space(tmp_path / "file" / "geodamage" / "environment", "cpu")


@pytest.mark.slow
def test_a_damaged_environment_is_made_anew_of_the_same_wheel(folder, plan):
    finish(create(folder, plan))
    script_in(folder).unlink()
    plan.package.path.unlink()
    assert describe(folder) == "damaged"
    _, executable = finish(repair(folder, plan.maker))
    assert executable == find_executable(None, folder)
    assert read_record(folder)["sha256"] == plan.package.sha256


def test_a_repair_with_another_wheel_is_refused_and_harms_nothing(folder, plan):
    finish(create(folder, plan))
    kept = Path(read_record(folder)["path"])
    make_wheel(kept.parent, needs="numpy>=2")
    with pytest.raises(PluginError, match="is not what the environment was made of"):
        finish(repair(folder, plan.maker))
    assert describe(folder) == "ready"


def test_a_repair_without_a_record_is_refused(folder, plan):
    folder.mkdir(parents=True)
    with pytest.raises(PluginError, match="no record"):
        finish(repair(folder, plan.maker))


def test_remove_takes_all_of_it(folder, plan):
    finish(create(folder, plan))
    folder.with_name("environment.asked").unlink()
    remove(folder)
    assert list(folder.parent.iterdir()) == []
    assert describe(folder) == "none"
    remove(folder)


def test_nothing_is_removed_that_the_plugin_did_not_make(folder, plan, tmp_path):
    folder.mkdir(parents=True)
    (folder / "thesis.txt").touch()
    assert describe(folder) == "foreign"
    with pytest.raises(PluginError, match="not made by the plugin"):
        remove(folder)
    finish(create(tmp_path / "real", plan))
    (tmp_path / "link").symlink_to(tmp_path / "real")
    with pytest.raises(PluginError, match="not made by the plugin"):
        remove(tmp_path / "link")
    assert (folder / "thesis.txt").exists()
    assert describe(tmp_path / "real") == "ready"


def test_an_environment_in_use_is_left_whole(folder, plan, monkeypatch):
    finish(create(folder, plan))

    def refused(*_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "rename", refused)
    with pytest.raises(PluginError, match="wait for running assessments"):
        remove(folder)
    assert describe(folder) == "ready"


@pytest.mark.slow
def test_uv_makes_environments_too(folder, plan, tmp_path):
    code = """
    import pathlib, shutil, sys
    words = sys.argv[1:]
    if words[0] == "venv":
        (pathlib.Path(words[-1]) / "bin").mkdir()
        (pathlib.Path(words[-1]) / "bin" / "python").touch()
    elif words[:2] == ["pip", "install"]:
        python = pathlib.Path(words[words.index("--python") + 1])
        assert python.is_file()
        program = python.parent / "geodamage"
        program.write_text("#!/bin/sh\\necho 'geodamage, version 0.1.0'\\n")
        program.chmod(0o755)
    """
    maker = Maker("uv", make_program(tmp_path / "uv", code), "0.9.0")
    finish(create(folder, replace(plan, maker=maker)))
    assert describe(folder) == "ready"


def test_a_step_is_what_pip_is_at():
    assert step_of("Collecting numpy>=1.26 (from geodamage)") == "Collecting numpy>=1.26"
    assert step_of("Installing collected packages: a, b") == "Unpacking the packages"
    assert step_of("WARNING: something") is None


@pytest.mark.slow
def test_a_real_python_makes_a_real_environment_where_paths_have_blanks(folder, tmp_path):
    wheel = make_wheel(tmp_path / "wheels und größe", needs="")
    plan = Plan(read_package(wheel), find_maker(sys.executable), report=False, offline=True)
    _, executable = finish(create(folder, plan))
    assert executable.version == "0.1.0"
    assert Run([str(executable.path)]).result().output == "geodamage, version 0.1.0\n"
    assert python_in(folder).is_file()
    remove(folder)
    assert not folder.exists()
