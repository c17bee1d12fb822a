import os
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
from geodamage_qgis.errors import CancelledError, PluginError
from geodamage_qgis.program import processes
from geodamage_qgis.program.events import Event, Parser
from geodamage_qgis.program.processes import (
    WindowsGroup,
)
from geodamage_qgis.program.runner import Run, partials_of

posix = pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")


def python(code: str) -> list[str]:
    return [sys.executable, "-c", code]


def say(*lines: str) -> list[str]:
    return python(f"import sys\nfor line in {lines!r}: print(line, file=sys.stderr)")


def kinds(run: Run) -> list[tuple[str, str]]:
    return [(event.kind, event.text) for event in run]


def test_lines_of_json_become_events():
    run = Run(
        say(
            '{"stage": "open", "message": "model fast", "level": "info"}',
            '{"stage": "predict", "done": 5, "total": 10, "buildings": 1234}',
            '{"stage": "predict", "message": "dark", "level": "warning"}',
            '{"stage": "write", "done": 10, "total": 10, "buildings": 1234}',
            '{"stage": "result", "output": "größe.gpkg", "buildings": 1300}',
        )
    )
    assert kinds(run) == [
        ("message", "model fast"),
        ("progress", "Analysing the images: 1,234 buildings"),
        ("warning", "dark"),
        ("progress", "Writing: 1,234 buildings"),
        ("done", "1,300 buildings in größe.gpkg"),
    ]
    outcome = run.result().check()
    assert (outcome.code, outcome.error) == (0, None)
    assert outcome.facts["buildings"] == 1300


def test_progress_is_true_and_never_goes_back():
    parser = Parser()
    lines = [
        '{"stage": "open", "done": 0, "total": 0}',
        '{"stage": "predict", "done": 5, "total": 10}',
        '{"stage": "predict", "done": 4, "total": 10}',
        '{"stage": "predict", "done": 10, "total": 10}',
        '{"stage": "write", "done": 10, "total": 10}',
        '{"stage": "done", "done": 10, "total": 10}',
    ]
    fractions = [parser.parse(line).fraction for line in lines]
    assert fractions == pytest.approx([0, 0.485, 0.485, 0.97, 0.97, 1])


def test_a_batch_goes_by_the_size_of_its_images():
    line = '{"stage": "assess", "done": 1, "failed": 1, "total": 4, "share": 0.5, "running": 2}'
    event = Parser().parse(line)
    assert event.fraction == pytest.approx(0.485)
    assert event.text == "Assessing: 1 of 4 scenes, 1 failed"
    line = '{"stage": "assess", "scene": "a", "message": "too dark", "level": "warning"}'
    assert Parser().parse(line) == Event(
        "warning",
        "a: too dark",
        data={"stage": "assess", "scene": "a", "message": "too dark", "level": "warning"},
    )


@pytest.mark.parametrize(
    ("line", "kind", "text", "fraction"),
    [
        ("geodamage: error: no such file; see --help", "error", "no such file; see --help", None),
        ("geodamage: warning: 3 labels outside", "warning", "3 labels outside", None),
        ("1,200 of 2,400 masks", "progress", "1,200 of 2,400 masks", 0.5),
        ("3 of 4 images", "progress", "3 of 4 images", 0.75),
        ("wrote 4 masks", "message", "wrote 4 masks", None),
        ('{"stage": broken', "message", '{"stage": broken', None),
        ("{}", "message", "{}", None),
        ("[1]", "message", "[1]", None),
    ],
)
def test_plain_lines_become_events(line, kind, text, fraction):
    assert Parser().parse(line) == Event(kind, text, fraction)


def test_empty_lines_are_nothing():
    assert Parser().parse("  \n") is None


def test_the_error_is_the_one_line_of_the_tool_and_the_log_has_the_rest():
    code = 'import sys; print(\'{"stage": "error", "message": "refused", "code": 4}\', '
    run = Run(python(code + "file=sys.stderr); print('more', file=sys.stderr); sys.exit(4)"))
    assert kinds(run)[0] == ("error", "refused")
    assert (run.result().code, run.result().error) == (4, "refused")
    with pytest.raises(PluginError, match=r"^refused$") as caught:
        run.result().check()
    assert "more" in caught.value.details


def test_a_program_that_dies_silently_is_an_error():
    outcome = Run(python("import sys; sys.exit(9)")).result()
    assert outcome.error.endswith("ended with code 9: it said nothing")


@posix
def test_a_program_that_is_killed_is_an_error_with_a_hint():
    outcome = Run(python("import os; os.kill(os.getpid(), 9)")).result()
    assert "memory" in outcome.error
    assert not outcome.succeeded
    assert not outcome.cancelled


def test_some_failed_scenes_are_a_result():
    assert Run(python("import sys; sys.exit(3)")).result().check().code == 3


def test_stdout_is_kept_and_echoed_where_asked():
    code = python("print('{\"score\": 0.5}')")
    run = Run(code)
    assert list(run) == []
    assert run.result().output == '{"score": 0.5}\n'
    assert kinds(Run(code, echo=True)) == [("message", '{"score": 0.5}')]


def test_a_program_that_is_not_there_is_one_line(tmp_path):
    missing = str(tmp_path / "geodamage")
    with pytest.raises(PluginError, match="no such program"):
        list(Run([missing]))
    (tmp_path / "geodamage").write_text("no program")
    with pytest.raises(PluginError, match="cannot be started"):
        list(Run([missing]))


def test_a_run_is_used_once():
    run = Run(say("a"))
    list(run)
    with pytest.raises(PluginError, match="started before"):
        list(run)


@pytest.mark.slow
def test_much_output_on_both_pipes_does_not_block():
    code = "import sys\nfor n in range(20000): print('o' * 50); print('e' * 50, file=sys.stderr)"
    run = Run(python(code))
    assert sum(1 for _ in run) == 20000
    assert len(run.result().output) == 20000 * (50 + len(os.linesep))


def test_bytes_that_are_no_text_do_not_end_a_run():
    code = "import sys; sys.stderr.buffer.write(b'\\xff\\xfe ok\\n')"
    ((kind, text),) = kinds(Run(python(code)))
    assert kind == "message"
    assert text.endswith("ok")


# Cancelling.

SLEEPER = "import sys, time; print('ready', file=sys.stderr, flush=True); time.sleep(60)"
#: Has a child in its group, which would go on alone.
PARENT = (
    "import subprocess, sys, time; child = subprocess.Popen([sys.executable, '-c', "
    "'import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(60)']); "
    "print(child.pid, file=sys.stderr, flush=True); time.sleep(60)"
)
#: Does not hear a polite signal; writes a partial file.
DEAF = (
    "import os, pathlib, signal, sys, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); "
    "[pathlib.Path(sys.argv[1], name % os.getpid()).touch() for name in "
    "('.b.gpkg.%d-0a1b2c.partial', '.b.gpkg.json.%d-0a1b2c.partial', "
    "'.b.gpkg.%d-0a1b2c.partial-journal', 'mine.%d.txt')]; "
    "print('ready', file=sys.stderr, flush=True); time.sleep(60)"
)


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    # A zombie that nobody has waited for is gone, too.
    stat = Path(f"/proc/{pid}/stat").read_text()
    return stat.rpartition(")")[2].split()[0] != "Z"


@pytest.mark.timeout(60)
def test_cancel_ends_the_program_and_says_so():
    run = Run(python(SLEEPER))
    for event in run:
        assert event.text == "ready"
        run.cancel()
        run.cancel()
    outcome = run.result()
    assert outcome.cancelled
    assert outcome.code == 130
    with pytest.raises(CancelledError, match="cancelled"):
        outcome.check()


def test_cancel_works_from_another_thread():
    run = Run(python(SLEEPER))
    timer = threading.Timer(0.5, run.cancel)
    timer.start()
    list(run)
    assert run.result().cancelled


def test_a_run_that_is_cancelled_before_it_starts_never_starts(tmp_path):
    run = Run(python(f"open({str(tmp_path / 'made')!r}, 'w')"))
    run.cancel()
    assert list(run) == []
    assert run.result().cancelled
    assert not (tmp_path / "made").exists()


def test_a_result_that_was_complete_before_the_cancel_stays_one():
    code = "import signal, sys, time; signal.signal(signal.SIGTERM, lambda *_: sys.exit(0)); "
    run = Run(python(code + "print('ready', file=sys.stderr, flush=True); time.sleep(60)"))
    for _ in run:
        run.cancel()
    assert run.result().succeeded


def test_a_loop_that_is_left_ends_the_program():
    run = Run(python(SLEEPER))
    events = iter(run)
    next(events)
    process = run._process
    events.close()
    assert process.poll() is not None
    assert run.result().cancelled


@posix
@pytest.mark.timeout(60)
@pytest.mark.skipif(not Path("/proc").is_dir(), reason="looks into /proc")
def test_cancel_ends_what_the_program_started():
    run = Run(python(PARENT), grace=0.5)
    for event in run:
        child = int(event.text)
        assert is_alive(child)
        run.cancel()
    while is_alive(child):
        time.sleep(0.05)


@posix
def test_what_a_deaf_program_began_is_removed(tmp_path):
    argv = [sys.executable, "-c", DEAF, str(tmp_path)]
    foreign = tmp_path / ".b.gpkg.99999999-0a1b2c.partial"
    foreign.touch()
    run = Run(argv, outputs=[tmp_path / "b.gpkg"], grace=0.3)
    for _ in run:
        assert len(list(tmp_path.iterdir())) == 5
        run.cancel()
    left = sorted(path.name for path in tmp_path.iterdir())
    assert left[0] == foreign.name, "another run's"
    assert [name.partition(".")[0] for name in left[1:]] == ["mine"]


def test_partials_are_found_by_the_name_that_the_tool_gives_them(tmp_path):
    from geodamage.output import PARTIAL_NAME, Publication

    output = tmp_path / "b (1).gpkg"
    with Publication(overwrite=False) as publication:
        partial = publication.partial(output)
        partial.touch()
        assert PARTIAL_NAME.fullmatch(partial.name)
        assert partials_of(output) == partials_of(output, os.getpid()) == [partial]
        assert partials_of(output, os.getpid() + 1) == partials_of(tmp_path / "c.gpkg") == []
    assert partials_of(tmp_path / "missing" / "b.gpkg") == []


# The environment.


def test_the_program_sees_the_variables(monkeypatch):
    monkeypatch.setenv("PYTHONHOME", "/nowhere")
    code = "import os; print(os.environ['EXTRA'], 'PYTHONHOME' in os.environ)"
    run = Run(python(code), environment_variables={"EXTRA": "größe"})
    assert run.result().output == "größe False\n"


def test_without_a_console_to_press_on_the_program_is_killed_at_once(monkeypatch):
    monkeypatch.setattr(processes, "press_ctrl_c", lambda pid: False)
    killed = []
    process = SimpleNamespace(pid=7, poll=lambda: None)
    run = Run(["x"], grace=60)
    run._group = WindowsGroup()
    monkeypatch.setattr(WindowsGroup, "kill", lambda self, process: killed.append(process))
    run._stop(process)
    assert killed == [process]
