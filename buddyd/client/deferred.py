"""Modules that are loaded when something of theirs is first used.

A program that imports a client is to wait for neither msgspec nor the protocol; its first call is.
"""

import importlib
from typing import Any

from buddyd.client import forks


class Deferred:
    """Stands for a module, and is one as soon as an attribute of it is asked for."""

    def __init__(self, module: str) -> None:
        self._module = module

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 -- type checkers see the module itself.
        with forks.loading:
            value = getattr(importlib.import_module(self._module), name)
        setattr(self, name, value)
        return value
