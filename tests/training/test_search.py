import sqlite3

import pytest
from hypothesis import given
from hypothesis import strategies as st

from geodamage.errors import OptionError
from tests.training.small_cities import TEXT
from training import search as module
from training.search import SearchJob, finished, largest, main, search

optuna = pytest.importorskip("optuna")


@given(st.integers(1, 500), st.integers(1, 7))
def test_the_largest_batch_is_found_whatever_it_is(limit, multiple):
    if limit < multiple:
        with pytest.raises(OptionError, match=f"not even a batch of {multiple} fits"):
            largest(lambda batch: batch <= limit, multiple=multiple)
        return
    tried = []
    found = largest(lambda batch: tried.append(batch) or batch <= limit, multiple=multiple)
    assert found == limit // multiple * multiple
    assert all(batch % multiple == 0 for batch in tried)


def test_no_batch_beyond_the_most_is_tried():
    assert largest(lambda batch: True, most=48) == 48


def arguments(folder, *more):
    recipe = folder / "cities.toml"
    recipe.write_text(TEXT, encoding="utf-8")
    study = str(folder / "search" / "study.db")
    given = [str(recipe), "--data", str(folder / "prepared"), "--study", study, "--device", "cpu"]
    return [*given, *more]


@pytest.mark.slow
def test_a_study_is_kept_drawn_and_goes_on_by_the_same_command(cities, capsys):
    main(arguments(cities, "--trials", "2", "--set", "steps=2"))
    said = capsys.readouterr().out
    assert "0 of 2 trials are done" in said
    assert "best: trial" in said
    main(arguments(cities, "--trials", "3", "--set", "steps=2"))
    said = capsys.readouterr().out
    assert "2 of 3 trials are done" in said
    assert "trial 0:" not in said
    kept = cities / "search"
    assert (kept / "study.png").read_bytes()[:4] == b"\x89PNG"
    rows = (kept / "study.csv").read_text().splitlines()
    assert rows[0] == "trial,state,value,lr,weight_decay"
    assert len(rows) == 4
    assert len({tuple(row.split(",")[3:]) for row in rows}) == 4  # other rates in every call


def job(folder, **changes):
    (folder / "cities.toml").write_text(TEXT, encoding="utf-8")
    facts = {
        "recipe": folder / "cities.toml",
        "data": folder / "prepared",
        "study": folder / "study.db",
        "runs": folder / "trials",
        "trials": 1,
        "overrides": ("steps=2",),
    }
    return SearchJob(**(facts | changes))


@pytest.mark.slow
def test_a_trial_that_a_kill_cut_off_is_begun_again(cities, monkeypatch):
    def killed(job, trial, name):
        trial.suggest_float("lr", 1e-5, 1e-1, log=True)
        trial.suggest_float("weight_decay", 1e-10, 1e-3, log=True)
        raise KeyboardInterrupt

    value_of = module.value_of
    monkeypatch.setattr(module, "value_of", killed)
    with pytest.raises(KeyboardInterrupt):
        search(job(cities), lambda text: None)
    monkeypatch.setattr(module, "value_of", value_of)
    study = search(job(cities), lambda text: None)
    cut, again = study.get_trials()
    assert cut.state.name == "FAIL"
    assert again.state.name == "COMPLETE"
    assert again.params == cut.params


@pytest.mark.slow
def test_a_trial_below_the_median_is_pruned(cities, monkeypatch):
    values = iter([0.9, 0.8, 0.7, 0.1])

    def fixed(job, trial, name):
        value = next(values)
        trial.report(value, 1)
        if trial.should_prune():
            raise optuna.TrialPruned
        return value

    monkeypatch.setattr(module, "value_of", fixed)
    study = search(job(cities, trials=4), lambda text: None)
    assert [trial.state.name for trial in finished(study)] == ["COMPLETE"] * 3 + ["PRUNED"]


@pytest.mark.slow
def test_the_study_is_sqlite(cities):
    search(job(cities), lambda text: None)
    with sqlite3.connect(cities / "study.db") as database:
        (count,) = database.execute("select count(*) from trials").fetchone()
    assert count == 1


@pytest.mark.slow
def test_what_is_no_study_is_refused_in_one_line(cities, capsys):
    (cities / "search").mkdir()
    (cities / "search" / "study.db").write_text("not a database" * 100)
    with pytest.raises(SystemExit) as stop:
        main(arguments(cities, "--trials", "1"))
    assert stop.value.code == 6
    said = capsys.readouterr().err
    assert "no study of Optuna" in said
    assert said.strip().count("\n") == 0


def test_a_search_of_no_trials_is_refused(cities, capsys):
    with pytest.raises(SystemExit) as stop:
        main(arguments(cities, "--trials", "0"))
    assert stop.value.code == 2
