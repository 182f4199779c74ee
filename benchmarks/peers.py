"""The environment in which the peers live; memkit never depends on them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

#: What is installed, and nothing else by name. mem0 needs LangChain for its ``langchain`` providers.
PINS = {"chromadb": "1.5.9", "langchain": "1.4.7", "langmem": "0.0.30", "mem0ai": "2.2.1"}

_VERSIONS = """\
import json, sys
from importlib import metadata
def version(name):
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None
print(json.dumps({name: version(name) for name in sys.argv[1:]}))
"""


def default_folder() -> Path:
    """In the user's cache, where it is kept between runs."""
    if sys.platform == "win32":
        cache = Path(os.environ["LOCALAPPDATA"])
    elif sys.platform == "darwin":
        cache = Path.home() / "Library" / "Caches"
    else:
        cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return cache / "memkit-benchmarks" / f"peers-{sys.version_info.major}.{sys.version_info.minor}"


def prepared(folder: Path) -> Path:
    """The environment's Python, with exactly the pinned peers; made or completed if need be.

    Raises:
        subprocess.CalledProcessError: It cannot be made; the installer has said why.
    """
    folder = folder.absolute()
    python = folder / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")
    if not python.exists():
        print(f"making an environment for the peers: {folder}", file=sys.stderr)
        subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
    if _installed(python) != PINS:
        names = [f"{name}=={version}" for name, version in PINS.items()]
        print(f"installing {' '.join(names)}; this takes some minutes once", file=sys.stderr)
        subprocess.run([str(python), "-m", "pip", "install", "--quiet", *names], check=True)
    return python


def _installed(python: Path) -> dict[str, str | None]:
    command = [str(python), "-c", _VERSIONS, *PINS]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    found: dict[str, str | None] = json.loads(done.stdout)
    return found
