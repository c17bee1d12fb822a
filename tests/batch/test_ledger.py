"""The ledger: nothing done is lost, nothing is done twice, and what the dead held is free."""

import multiprocessing
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from geodamage.batch.ledger import APPLICATION_ID, Ledger
from geodamage.batch.owner import Owner, file_system
from geodamage.batch.record import SceneIdentity
from geodamage.batch.shard import Shard, ledger_path
from geodamage.batch.story import read_history, read_story
from geodamage.errors import LedgerError, OptionError
from tests.batches import rows


def entries(*names: str, inputs: str = "i", model: str = "m", options: str = "o"):
    return [
        SceneIdentity(name, position, inputs, model, options) for position, name in enumerate(names)
    ]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return ledger_path(tmp_path)


def states(ledger: Ledger) -> dict[str, str]:
    return {record.name: record.state for record in ledger.records()}


def finish(ledger: Ledger, name: str, **facts: object) -> bool:
    return ledger.finish(name, outputs={"a.tif": [1, 2, "h"]}, facts=facts, version="1")


def test_scenes_are_claimed_in_the_order_of_the_list(path):
    with Ledger(path) as ledger:
        ledger.enter(entries("b", "a"))
        assert [ledger.claim(["a", "b"]).name for _ in range(2)] == ["b", "a"]
        assert ledger.claim(["a", "b"]) is None
        assert states(ledger) == {"b": "running", "a": "running"}


def test_only_the_scenes_asked_for_are_claimed(path):
    with Ledger(path) as ledger:
        ledger.enter(entries("a", "b"))
        assert ledger.claim(["b"]).name == "b"
        assert ledger.claim(["b"]) is None


def test_what_is_done_stays_done(path):
    with Ledger(path) as ledger:
        ledger.enter(entries("a"))
        ledger.claim(["a"])
        assert finish(ledger, "a", buildings=3)
    with Ledger(path) as ledger:
        assert ledger.enter(entries("a"), retry_failed=True) == {}
        assert ledger.claim(["a"]) is None
        (record,) = ledger.records()
        assert record.facts == {"buildings": 3}
        assert record.outputs == {"a.tif": [1, 2, "h"]}
        assert record.attempts == 1


@pytest.mark.parametrize("what", ["inputs", "model", "options"])
def test_exactly_what_changed_waits_again(path, what):
    with Ledger(path) as ledger:
        ledger.enter(entries("a", "b"))
        for name in ("a", "b"):
            ledger.claim([name])
            finish(ledger, name)
        changed = [entries("a")[0], entries("a", "b", **{what: "new"})[1]]
        assert ledger.enter(changed) == {"b": f"changed: {what}"}
        assert states(ledger) == {"a": "done", "b": "waiting"}


def test_what_failed_waits_again_only_when_asked(path):
    with Ledger(path) as ledger:
        ledger.enter(entries("a"))
        ledger.claim(["a"])
        assert ledger.fail("a", "no pixels", 4, version="1")
        ledger.enter(entries("a"))
        assert states(ledger) == {"a": "failed"}
        assert ledger.records()[0].error == "no pixels"
        ledger.enter(entries("a"), retry_failed=True)
        assert states(ledger) == {"a": "waiting"}
        assert ledger.records()[0].error is None


def test_a_scene_in_other_hands_is_not_claimed(path):
    with Ledger(path) as ledger, Ledger(path) as other:
        ledger.enter(entries("a"))
        assert ledger.claim(["a"]) is not None
        assert other.claim(["a"]) is None
        assert not finish(other, "a")
        assert other.release("none of mine") == []
        assert finish(ledger, "a")


def test_what_is_released_waits_again(path):
    with Ledger(path) as ledger:
        ledger.enter(entries("a", "b"))
        ledger.claim(["a"])
        assert ledger.release("interrupted") == ["a"]
        assert states(ledger) == {"a": "waiting", "b": "waiting"}


@pytest.mark.slow
def test_the_scene_of_a_dead_process_is_taken_over_at_once(path):
    code = (
        "import os, sys; from pathlib import Path; from geodamage.batch.ledger import Ledger\n"
        "ledger = Ledger(Path(sys.argv[1])); ledger.claim(['a']); os._exit(9)"
    )
    with Ledger(path) as ledger:
        ledger.enter(entries("a"))
    subprocess.run([sys.executable, "-c", code, str(path)], check=False)
    with Ledger(path) as ledger:
        assert states(ledger) == {"a": "running"}
        record = ledger.claim(["a"])
        assert record.attempts == 2
        assert [line.event for line in ledger.history()] == ["added", "claimed", "taken over"]


def test_a_process_with_the_number_of_a_dead_one_does_not_hold_its_scene(path):
    gone = Owner(Owner.this().host, os.getpid(), 1.0)
    with Ledger(path, owner=gone) as ledger, Ledger(path) as other:
        ledger.enter(entries("a"))
        ledger.claim(["a"])
        assert other.claim(["a"]) is not None


def test_a_process_of_another_machine_holds_its_scene_until_the_lease_ends(path):
    far = Owner("another machine", 1, None)
    with Ledger(path, owner=far, lease=0.3) as ledger, Ledger(path) as other:
        ledger.enter(entries("a"))
        ledger.claim(["a"])
        assert other.claim(["a"]) is None
        time.sleep(0.2)
        ledger.renew()
        time.sleep(0.2)
        assert other.claim(["a"]) is None, "renewed"
        time.sleep(0.2)
        assert other.claim(["a"]) is not None
        assert not finish(ledger, "a"), "lost to the other"


def claim_all(path: Path, names: list[str], queue) -> None:
    with Ledger(path) as ledger:
        mine = []
        while (record := ledger.claim(names)) is not None:
            mine.append(record.name)
            finish(ledger, record.name)
        queue.put(mine)


@pytest.mark.slow
def test_processes_never_claim_the_same_scene(path):
    names = [f"s{number}" for number in range(60)]
    with Ledger(path) as ledger:
        ledger.enter(entries(*names))
    context = multiprocessing.get_context("spawn")
    queue = context.Queue()
    workers = [context.Process(target=claim_all, args=(path, names, queue)) for _ in range(3)]
    for worker in workers:
        worker.start()
    found = [name for _ in workers for name in queue.get(timeout=60)]
    for worker in workers:
        worker.join()
    assert sorted(found) == sorted(names)
    assert {row[0] for row in rows(path, "SELECT attempts FROM scenes")} == {1}


def test_ledgers_of_shards_are_read_as_one(tmp_path):
    for k, name in ((1, "a"), (2, "b")):
        with Ledger(ledger_path(tmp_path, Shard(k, 2))) as ledger:
            ledger.enter([SceneIdentity(name, k, "i", "m", "o")])
            ledger.claim([name])
            finish(ledger, name)
    # One that is waiting here and done there is done.
    with Ledger(ledger_path(tmp_path)) as ledger:
        ledger.enter([SceneIdentity("a", 1, "i", "m", "o"), SceneIdentity("c", 9, "i", "m", "o")])
    found = {record.name: record.state for record in read_story(tmp_path)}
    assert found == {"a": "done", "b": "done", "c": "waiting"}
    assert [line.event for line in read_history(tmp_path) if line.name == "b"] == [
        "added",
        "claimed",
        "done",
    ]


def test_shards_part_the_scenes():
    names = [f"scene {number}" for number in range(500)]
    shares = [[name for name in names if name in Shard(k, 4)] for k in (1, 2, 3, 4)]
    assert sorted(name for share in shares for name in share) == sorted(names)
    assert all(80 < len(share) < 170 for share in shares)


@pytest.mark.parametrize("text", ["0/4", "5/4", "1", "a/b", "1/0", "-1/2", ""])
def test_a_shard_that_makes_no_sense_is_refused(text):
    with pytest.raises(OptionError, match=r"--shard .*K/N"):
        Shard.parse(text)


def test_a_damaged_ledger_is_refused_with_the_way_out(path):
    with Ledger(path) as ledger:
        ledger.enter(entries(*(f"s{number}" for number in range(200))))
    for name in ("-wal", "-shm"):
        Path(f"{path}{name}").unlink(missing_ok=True)
    content = bytearray(path.read_bytes())
    content[4096:12288] = b"\xff" * 8192
    path.write_bytes(content)
    with pytest.raises(LedgerError, match=rf"{path.name}.* move it away .*--overwrite"):
        Ledger(path)


def test_what_is_no_ledger_is_refused(path):
    path.write_bytes(b"no database, but long enough to be taken for one" * 40)
    with pytest.raises(LedgerError, match="damaged"):
        Ledger(path)
    path.unlink()
    rows(path, "CREATE TABLE mine (x)")
    with pytest.raises(LedgerError, match="another program's"):
        Ledger(path)


def test_a_ledger_of_a_newer_version_is_refused(path):
    Ledger(path).close()
    rows(path, "PRAGMA user_version = 99")
    with pytest.raises(LedgerError, match="newer geodamage"):
        Ledger(path)
    assert rows(path, "PRAGMA application_id") == [(APPLICATION_ID,)]


def test_a_folder_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(LedgerError, match="folder is there"):
        Ledger(tmp_path / "none" / "ledger.sqlite")
    with pytest.raises(LedgerError, match="no ledger here"):
        read_story(tmp_path)


def test_it_writes_ahead_on_a_local_file_system_only(path, monkeypatch):
    with Ledger(path):
        local = file_system(path) in ("ext4", "xfs", "btrfs", "tmpfs", "overlay")
        assert rows(path, "PRAGMA journal_mode") == [("wal" if local else "delete",)]
    monkeypatch.setattr("geodamage.batch.ledger.file_system", lambda path: "nfs4")
    with Ledger(path) as ledger:
        ledger.enter(entries("a"))
        assert rows(path, "PRAGMA journal_mode") == [("delete",)]
