"""Programs that stand for geodamage, Python, pip and uv, and wheels that stand for its wheel."""

import sys
import textwrap
import zipfile
from pathlib import Path


def make_program(path: Path, code: str) -> Path:
    """Write a program of Python code that can be started by its path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    # As pip does where the path of the Python may have blanks in it.
    head = f"#!/bin/sh\n'''exec' \"{sys.executable}\" \"$0\" \"$@\"\n' '''\n"
    path.write_text(head + textwrap.dedent(code), encoding="utf-8")
    path.chmod(0o755)
    return path


def make_geodamage(path: Path, version: str = "0.1.0") -> Path:
    """Write a program that answers as geodamage does."""
    return make_program(path, f"print('geodamage, version {version}')")


#: A Python that makes an environment, whose Python installs a geodamage; nothing else.
FAKE_PYTHON = """
import os, pathlib, shutil, sys, time
me, words = pathlib.Path(__file__), sys.argv[1:]
if "-c" in words:
    print("[3, 12, 1]")
elif "venv" in words:
    folder = pathlib.Path(words[-1])
    (folder / "bin").mkdir(parents=True)
    shutil.copy(me, folder / "bin" / "python")
elif "pip" in words:
    pathlib.Path(str(me.parent.parent) + ".asked").write_text("\\n".join(words))
    print("Collecting numpy>=1.26 (from geodamage)", flush=True)
    how = os.environ.get("FAKE_PIP", "")
    if how == "fail":
        print("ERROR: No matching distribution found for numpy>=1.26", file=sys.stderr)
        sys.exit(1)
    if how == "wait":
        time.sleep(60)
    program = me.parent / "geodamage"
    program.write_text("#!/bin/sh\\necho 'geodamage, version 0.1.0'\\n")
    program.chmod(0o755)
    print("Installing collected packages: numpy, geodamage", flush=True)
"""


def make_python(path: Path) -> Path:
    """Write a program that stands for a Python 3.12 with venv and pip."""
    return make_program(path, FAKE_PYTHON)


#: A geodamage without any of what it needs.
MODULE = "def main():\n    print('geodamage, version 0.1.0')\n"


def make_wheel(
    folder: Path, version: str = "0.1.0", *, name: str = "geodamage", needs: str = "numpy>=1.26"
) -> Path:
    """Write a wheel that pip installs; what it needs may be an empty text."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}-{version}-py3-none-any.whl"
    about = f"{name}-{version}.dist-info"
    lines = ["Metadata-Version: 2.1", f"Name: {name}", f"Version: {version}"]
    lines += [f"Requires-Dist: {needs}"] if needs else []
    lines += ['Requires-Dist: onnxruntime>=1.20 ; extra == "gpu"', "Provides-Extra: gpu"]
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(f"{name}/__init__.py", MODULE)
        archive.writestr(f"{about}/METADATA", "\n".join(lines) + "\n\nAbout.\n")
        archive.writestr(
            f"{about}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        archive.writestr(f"{about}/entry_points.txt", f"[console_scripts]\n{name} = {name}:main\n")
        archive.writestr(f"{about}/RECORD", "")
    return path
