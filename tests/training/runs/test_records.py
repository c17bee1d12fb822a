import csv
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.runs.records import RecordError, Status, StepTable, ValidationLog


def rows(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.slow
@given(loss=st.floats(allow_nan=False), lr=st.floats(0, 1))
def test_a_loss_is_read_back_to_the_last_bit(tmp_path_factory, loss, lr):
    path = tmp_path_factory.mktemp("steps") / "steps.csv"
    table = StepTable(path, resumed_at=0)
    table.add(1, loss, lr)
    table.close()
    (row,) = rows(path)
    assert (float(row["loss"]), float(row["lr"])) == (loss, lr)


def test_a_step_is_in_the_file_before_the_table_is_closed(tmp_path):
    table = StepTable(tmp_path / "steps.csv", resumed_at=0)
    for step in (1, 2):
        table.add(step, 0.5, 1e-3)
        assert [row["step"] for row in rows(tmp_path / "steps.csv")][-1] == str(step)
    table.close()


def test_a_run_that_goes_on_has_every_step_once(tmp_path):
    path = tmp_path / "steps.csv"
    path.write_text("step,lr,loss\n1,0.1,5.0\n2,0.1,4.0\n3,0.1,3.0\n4,0.1,2")  # killed at step 4
    table = StepTable(path, resumed_at=2)
    assert (list(table.steps), list(table.losses)) == ([1, 2], [5.0, 4.0])
    table.add(3, 2.5, 0.1)
    table.close()
    assert path.read_text() == "step,lr,loss\n1,0.1,5.0\n2,0.1,4.0\n3,0.1,2.5\n"


def test_a_run_begun_anew_has_no_steps_of_before(tmp_path):
    path = tmp_path / "steps.csv"
    path.write_text("step,lr,loss\n1,0.1,5.0\n")
    StepTable(path, resumed_at=0).close()
    assert path.read_text() == "step,lr,loss\n"


@pytest.mark.parametrize(
    "text", ["a,b\n1,2\n", "step,lr,loss\nx,0,0\n", "step,lr\n1,0\n", "step,lr,loss\n1,0,0,9\n"]
)
def test_a_file_that_is_no_table_of_steps_is_left_alone(tmp_path, text):
    path = tmp_path / "steps.csv"
    path.write_text(text)
    with pytest.raises(RecordError, match=r"steps\.csv: not a table.*move it away"):
        StepTable(path, resumed_at=9)
    assert path.read_text() == text


def test_validations_beyond_the_checkpoint_come_again(tmp_path):
    path = tmp_path / "log.csv"
    log = ValidationLog(path, resumed_at=0)
    log.add(10, {"score": 0.25}, better=True)
    log.add(20, {"score": 0.5}, better=True)
    log = ValidationLog(path, resumed_at=10)
    assert log.best("score") == (10, 0.25)
    log.add(20, {"score": 0.125}, better=False)
    assert path.read_text() == "step,score,better\n10,0.25,1\n20,0.125,0\n"
    assert log.best("score") == (10, 0.25)
    assert log.best("dice") is None


def test_a_log_whose_columns_change_stays_a_table(tmp_path):
    path = tmp_path / "log.csv"
    ValidationLog(path, resumed_at=0).add(1, {"dice": 0.5, "score": 0.25}, better=True)
    log = ValidationLog(path, resumed_at=1)
    log.add(2, {"loss": 1.5, "score": 0.75}, better=True)
    assert rows(path) == [
        {"step": "1", "dice": "0.5", "score": "0.25", "loss": "", "better": "1"},
        {"step": "2", "dice": "", "score": "0.75", "loss": "1.5", "better": "1"},
    ]
    assert log.series() == {
        "dice": [(1, 0.5)],
        "score": [(1, 0.25), (2, 0.75)],
        "loss": [(2, 1.5)],
    }


def test_a_status_is_read_as_it_was_written(tmp_path):
    status = Status("a", steps=3, total=9, metric="score", best=0.5, best_step=2)
    status.write(tmp_path / "status.json")
    assert Status.read(tmp_path / "status.json") == status


def test_a_later_key_does_not_hide_a_status(tmp_path):
    (tmp_path / "status.json").write_text(json.dumps({"name": "a", "of tomorrow": 1}))
    assert Status.read(tmp_path / "status.json") == Status("a")


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"name": 3}', '{"name": "a", "best": "x"}'])
def test_what_is_no_status_is_an_error(tmp_path, text):
    (tmp_path / "status.json").write_text(text)
    with pytest.raises(RecordError, match=r"status\.json: not the status of a run"):
        Status.read(tmp_path / "status.json")
