"""The native engine's machine code."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
from oncoradiomics.native.compiled import compiled
from oncoradiomics.native.laplacian_of_gaussian import laplacian_of_gaussian

ROOT = Path(__file__).parents[3]


def test_a_function_that_cannot_be_kept_is_compiled_all_the_same():
    """Code that lies in no file has no place in numba's cache, as in a container where nothing can be written."""
    names: dict = {}
    exec("def double(x):\n    return 2.0 * x\n", names)  # noqa: S102
    double = compiled("float64(float64)")(names["double"])
    assert double(4.0) == 8.0


def test_the_gil_is_free_while_the_engine_works():
    image = np.random.default_rng(1).normal(size=(60, 160, 160)).astype(np.float32)
    box = (slice(20, 40), slice(60, 100), slice(60, 100))
    beats, stop = 0, threading.Event()

    def beat() -> None:
        nonlocal beats
        while not stop.wait(0):
            beats += 1

    thread = threading.Thread(target=beat)
    thread.start()
    laplacian_of_gaussian(image, box, (1.0, 1.0, 1.0), 5.0)
    stop.set()
    thread.join()
    assert beats > 100


def test_the_command_line_does_not_compile_to_say_what_it_can_do():
    code = "import sys, oncoradiomics.command_line; assert 'numba' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], env={"PYTHONPATH": str(ROOT / "radiomics")}, check=True)
