import json
import sys
import tomllib

import pytest

from benchmarks import coverage


@pytest.fixture
def report(tmp_path, monkeypatch):
    """Return a function that writes a report, and call `main` with it and with more."""
    monkeypatch.setattr(coverage, "KEPT", tmp_path / "coverage.toml")
    coverage.KEPT.write_text("percent = 90.0\n", encoding="utf-8")

    def run(percent, *more, branch=True):
        path = tmp_path / "coverage.json"
        found = {"meta": {"branch_coverage": branch}, "totals": {"percent_covered": percent}}
        path.write_text(json.dumps(found), encoding="utf-8")
        monkeypatch.setattr(sys, "argv", ["coverage", str(path), *more])
        return coverage.main()

    return run


@pytest.mark.parametrize(("percent", "code"), [(95.0, 0), (89.05, 0), (88.9, 1)])
def test_a_fall_of_more_than_a_point_ends_with_1(report, capsys, percent, code):
    assert report(percent) == code
    assert f"{percent:.1f} %, kept 90.0 %" in capsys.readouterr().out


def test_a_new_figure_is_kept(report):
    assert report(80.0, "--write") == 0
    assert tomllib.loads(coverage.KEPT.read_text(encoding="utf-8"))["percent"] == 80.0
    assert report(79.5) == 0


def test_a_report_without_branches_is_no_measure(report):
    with pytest.raises(SystemExit, match="does not count branches"):
        report(95.0, branch=False)


def test_without_a_kept_figure_nothing_has_fallen(report, capsys):
    coverage.KEPT.unlink()
    assert report(12.0) == 0
    assert "no figure is kept yet" in capsys.readouterr().out
    assert report(12.0, "--write") == report(11.5) == 0
    assert report(10.0) == 1
