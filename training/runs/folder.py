"""The folder of a run: its recipe, the commit, and the split with its hash."""

import hashlib
import shutil
import subprocess
from pathlib import Path

from geodamage.errors import OptionError
from geodamage.sources import check_file
from training.recipe import Recipe, as_toml, as_values
from training.runs.records import replace_text

#: Where this code is, for the commit of its clone.
CODE = Path(__file__).parents[1]
#: What may differ when a run goes on: how long it is, and what does not touch its numbers.
FLEXIBLE = (
    "steps", "epochs", "workers", "checkpoint_every", "validate_every", "validate_on", "patience",
    "mlflow", "group",
)  # fmt: skip


def open_run(run: Path, recipe: Recipe, split: Path) -> None:
    """Write recipe, commit and split into a run folder, or check that they are those of the run.

    Raises
    ------
    OptionError
        If the folder holds a run of another recipe or split.
    """
    run.mkdir(parents=True, exist_ok=True)
    digest = hashlib.sha256(Path(check_file(str(split))).read_bytes()).hexdigest()
    if (run / "last.pt").exists():
        before = as_values(Recipe.read(run / "recipe.toml"))
        now = as_values(recipe)
        changed = [key for key in now if now[key] != before[key] and key not in FLEXIBLE]
        if changed:
            key = changed[0]
            raise OptionError(
                f"{run}: was begun with {key} = {before[key]!r}, not {now[key]!r}; give the run "
                "another name, or remove the folder"
            )
        if (run / "split.sha256").read_text(encoding="utf-8").strip() != digest:
            raise OptionError(f"{run}: was begun with another split than {split}")
    replace_text(run / "recipe.toml", as_toml(recipe))
    replace_text(run / "commit.txt", commit(CODE))
    if split.resolve() != (run / "split.csv").resolve():
        shutil.copyfile(split, run / "split.csv.partial")
        (run / "split.csv.partial").replace(run / "split.csv")
    replace_text(run / "split.sha256", digest + "\n")


def commit(folder: Path = CODE) -> str:
    """Return the commit of a clone; empty where the folder is in none, or there is no git."""
    git = shutil.which("git")
    if git is None:
        return ""
    head = [git, "-C", str(folder), "rev-parse", "--verify", "--quiet", "HEAD"]
    return subprocess.run(head, capture_output=True, text=True, check=False).stdout
