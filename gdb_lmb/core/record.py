# SPDX-License-Identifier: GPL-2.0-or-later
"""`dataclass`, as in `dataclasses`, but made in a fraction of the time.

`dataclasses` has Python compile up to seven methods for each class, and a check imports eighty classes, once here and
once in gdb: that was a tenth of the check of a small kernel. Here only `__init__` is compiled. A class that inherits
from one of these is made here too.
"""

from __future__ import annotations

import dataclasses
from dataclasses import MISSING
from functools import partial
from operator import attrgetter
from typing import TYPE_CHECKING, Any, NoReturn

if TYPE_CHECKING:
    from dataclasses import dataclass as dataclass
else:

    def dataclass(cls: type | None = None, /, *, frozen: bool = False, kw_only: bool = False) -> Any:
        """Make `cls` a dataclass; methods that it defines itself are kept."""
        if cls is None:
            return partial(dataclass, frozen=frozen, kw_only=kw_only)
        own = set(vars(cls))
        dataclasses.dataclass(init=False, repr=False, eq=False, kw_only=kw_only)(cls)
        methods = {"__init__": _init(cls, frozen), **_methods(dataclasses.fields(cls))}
        if frozen:
            methods |= {"__setattr__": _refuse, "__delattr__": _refuse}
        else:
            methods["__hash__"] = None
        for name in methods.keys() - own:
            setattr(cls, name, methods[name])
        return cls


def _init(cls: type, frozen: bool) -> Any:
    # No field has a name like these.
    scope: dict[str, Any] = {"__missing": MISSING, "__set": object.__setattr__}
    positional, by_name, body = ["self"], ["*"], ["pass"]
    for field in dataclasses.fields(cls):
        name = value = taken = field.name
        if field.default_factory is not MISSING:
            scope[f"__of_{name}"] = field.default_factory
            taken, value = f"{name}=__missing", f"__of_{name}() if {name} is __missing else {name}"
        elif field.default is not MISSING:
            scope[f"__of_{name}"] = field.default
            taken = f"{name}=__of_{name}"
        (by_name if field.kw_only else positional).append(taken)
        body.append(f"__set(self, {name!r}, {value})" if frozen else f"self.{name} = {value}")
    if hasattr(cls, "__post_init__"):
        body.append("self.__post_init__()")
    taken = ", ".join([*positional, *(by_name if by_name[1:] else ())])
    exec(f"def __init__({taken}):\n " + "\n ".join(body), scope)
    return scope["__init__"]


def _methods(fields: tuple[dataclasses.Field[Any], ...]) -> dict[str, Any]:
    compared = attrgetter("__class__", *(field.name for field in fields if field.compare))
    shown = [field.name for field in fields if field.repr]

    def same(self: object, other: object) -> Any:
        return compared(self) == compared(other) if other.__class__ is self.__class__ else NotImplemented

    def number(self: object) -> int:
        return hash(compared(self))

    def text(self: object) -> str:
        return f"{type(self).__qualname__}({', '.join(f'{name}={getattr(self, name)!r}' for name in shown)})"

    return {"__eq__": same, "__hash__": number, "__repr__": text}


def _refuse(self: object, name: str, *_: object) -> NoReturn:
    raise dataclasses.FrozenInstanceError(f"cannot change {name!r} of {type(self).__name__}")
