"""How this package's loops become machine code: numba, compiled once and kept on disk."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar, cast

import numba

Function = TypeVar("Function", bound=Callable[..., object])


def compiled(*signatures: str) -> Callable[[Function], Function]:
    """Compile a function for the given numba signatures when its module is imported, or load it from numba's cache.

    The code releases the GIL, keeps the order of floating-point operations as written (no fused or reordered
    arithmetic, so that values equal those of the reference engine's C code) and divides as numpy does.
    """

    def decorate(function: Function) -> Function:
        def made(*, cache: bool) -> object:
            return numba.njit(list(signatures), cache=cache, nogil=True, error_model="numpy")(function)

        try:
            return cast("Function", made(cache=True))
        except RuntimeError:
            # Nowhere to keep the code: neither beside the module nor in NUMBA_CACHE_DIR nor in the user's cache folder.
            return cast("Function", made(cache=False))

    return decorate
