"""How the kernels are compiled: strictly, so that nothing compared with a threshold is rounded otherwise."""

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import numba
import numpy as np
from numba.extending import register_jitable
from numpy.typing import NDArray

_Function = TypeVar("_Function", bound=Callable[..., Any])

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]


def jitable(function: _Function) -> _Function:
    """Leave a function plain Python, and let compiled code call it too.

    Compiled, it allocates nothing and counts no references: that would take longer than all it does.
    """
    return register_jitable(_nrt=False)(function)


def inlined(function: _Function) -> _Function:
    """As ``jitable``, and a part of whoever calls it: handing over many arrays costs more than a call."""
    return register_jitable(forceinline=True, _nrt=False)(function)


def compiled(function: _Function) -> _Function:
    """Return numba's function: IEEE arithmetic as written, no fast-math flag, no fused multiply-add.

    It is cached on disk where there is a place, and runs without the interpreter's lock.
    """
    fixed: dict[str, Any] = {"error_model": "numpy", "nogil": True, "_nrt": False}
    try:
        return numba.njit(cache=True, **fixed)(function)  # type: ignore[no-any-return]
    except RuntimeError:  # neither the package's folder nor the user's cache can be written
        return numba.njit(**fixed)(function)  # type: ignore[no-any-return]


def text_number() -> int:
    """Return a number made of the text of all kernels.

    A compiled function is cached by its own file alone; one that closes over this number is compiled anew
    when any of them changes.
    """
    text = b"".join(path.read_bytes() for path in sorted(Path(__file__).parent.glob("*.py")))
    return int.from_bytes(hashlib.sha256(text).digest()[:7], "big")
