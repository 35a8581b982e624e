# Installs the book's package where it is missing (Colab); else does nothing
import importlib.metadata
import importlib.util
import os
import subprocess
import sys

if importlib.util.find_spec("gdl") is None:
    source = os.environ.get(
        "GDL_SOURCE", "git+https://github.com/example/gdl-book@main"
    )
    keep = [
        f"{name}=={importlib.metadata.version(name)}"
        for name in ("torch", "numpy") if importlib.util.find_spec(name)
    ]
    pip = [sys.executable, "-m", "pip", "install", "-qq"]
    subprocess.run([*pip, f"gdl-book @ {source}", *keep], check=True)

from gdl.chapter import setup

setup(seed=0)
