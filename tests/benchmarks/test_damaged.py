import pytest

from benchmarks.damaged import main, of_events
from geodamage.errors import OptionError
from geodamage.xbd.folders import Pair
from tests.labelled_pairs import write_split


def test_pairs_of_the_events_that_are_asked_for(tmp_path):
    pairs = [Pair("storm_1", tmp_path), Pair("flood_2", tmp_path)]
    assert of_events(pairs, "") == pairs
    assert of_events(pairs, "flood") == pairs[1:]
    with pytest.raises(OptionError, match="--events fire"):
        of_events(pairs, "flood,fire")


def test_the_table_has_each_model_and_the_mean(tmp_path, model, capsys):
    split = write_split(tmp_path, storm_1="test", storm_2="test")
    main([str(split), str(model), str(model), "--data", str(tmp_path)])
    rows = [line.split("|") for line in capsys.readouterr().out.splitlines() if "|" in line][2:]
    assert len(rows) == 3
    assert rows[0] == rows[1]
    assert int(rows[0][2]) > 0
    assert float(rows[0][3]) == float(rows[0][4]) == 1
    assert rows[2][1].strip() == "mean"
    assert rows[2][3:] == rows[0][3:]


def test_an_event_that_is_not_there_is_named(tmp_path, model, capsys):
    split = write_split(tmp_path, storm_1="test")
    with pytest.raises(SystemExit):
        main([str(split), str(model), "--data", str(tmp_path), "--events", "fire"])
    assert "--events fire" in capsys.readouterr().err
