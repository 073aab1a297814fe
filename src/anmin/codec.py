"""Objects as a tree for JSON and a list of arrays, and back: data alone, of a closed set of classes.

Nothing that is read is ever executed. What comes back behaves as what went in to the last bit: arrays keep their type
and the order of their axes in memory, by which BLAS rounds, and what was one object in two places is one again.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import fields, is_dataclass
from enum import Enum
from typing import Any

import numpy as np
from numpy.typing import NDArray

_PLAIN = (str, int, float, bool, type(None))


class Encoder:
    """What turns objects into trees, and collects their arrays.

    Parameters
    ----------
    classes : iterable of type
        Dataclasses, named tuples and enumerations that there may be.

    Attributes
    ----------
    arrays : list of ndarray
        Those that the trees refer to by number.
    """

    def __init__(self, classes: Iterable[type]) -> None:
        self._classes = {kind: kind.__name__ for kind in classes}
        self.arrays: list[NDArray] = []

    def tree(self, value: Any, known: Mapping[str, Any] | None = None) -> Any:
        """Return an object as a tree; ``known`` objects are referred to by their names.

        Raises
        ------
        TypeError
            If it holds an object of another class.
        """
        return _Tree(self._classes, self.arrays, known or {}).of(value)


class _Tree:
    """One tree in the making."""

    def __init__(self, classes: dict[type, str], arrays: list[NDArray], known: Mapping[str, Any]) -> None:
        self._classes, self._arrays = classes, arrays
        self._names = {id(value): name for name, value in known.items()}
        self._seen: dict[int, tuple[int, Any]] = {}  # with the object, so that no other can come to have its id

    def of(self, value: Any) -> Any:
        kind = type(value)
        if kind in _PLAIN:
            return value
        if id(value) in self._names:
            return {"known": self._names[id(value)]}
        if id(value) in self._seen:
            return {"same": self._seen[id(value)][0]}
        if kind is tuple:
            return {"tuple": [self.of(item) for item in value]}
        if kind is list:
            return {"list": [self.of(item) for item in value]}
        if kind is frozenset:
            return {"set": [self.of(item) for item in sorted(value)]}
        if kind is dict and all(type(key) is str for key in value):
            return {"dict": {key: self.of(item) for key, item in value.items()}}
        if isinstance(value, np.generic):
            return {"scalar": self._array(np.asarray(value))}
        if kind is np.ndarray:
            tree = {"array": self._array(value), "writeable": value.flags.writeable}
        elif kind not in self._classes:
            raise TypeError(f"Objects of {kind.__module__}.{kind.__qualname__} cannot be stored.")
        elif isinstance(value, Enum):
            return {"member": value.name, "of": self._classes[kind]}
        else:
            content = {name: self.of(getattr(value, name)) for name in _names(kind)}
            tree = {"is": self._classes[kind], "fields": content}
        tree["number"] = len(self._seen)
        self._seen[id(value)] = tree["number"], value
        return tree

    def _array(self, array: NDArray) -> list:
        if array.dtype.hasobject:
            raise TypeError("Arrays of objects cannot be stored.")
        axes = sorted(range(array.ndim), key=lambda axis: -abs(array.strides[axis]))
        self._arrays.append(array.transpose(axes))
        return [len(self._arrays) - 1, axes]


class Decoder:
    """What turns trees into objects; ``arrays`` are those that the encoder collected."""

    def __init__(self, classes: Iterable[type], arrays: list[NDArray]) -> None:
        self._classes = {kind.__name__: kind for kind in classes}
        self._arrays = arrays

    def value(self, tree: Any, known: Mapping[str, Any] | None = None) -> Any:
        """Return the object of a tree, with the ``known`` ones in the places of their names.

        A tree that no encoder made raises one of the errors of looking things up, or ValueError or TypeError.
        """
        return self._value(tree, known or {}, {})

    def _value(self, tree: Any, known: Mapping[str, Any], seen: dict[int, Any]) -> Any:
        def of(item: Any) -> Any:
            return self._value(item, known, seen)

        match tree:
            case str() | bool() | int() | float() | None:
                return tree
            case {"known": name}:
                return known[name]
            case {"same": number}:
                return seen[number]
            case {"tuple": items}:
                return tuple(map(of, items))
            case {"list": items}:
                return list(map(of, items))
            case {"set": items}:
                return frozenset(map(of, items))
            case {"dict": items}:
                return {key: of(item) for key, item in items.items()}
            case {"scalar": place}:
                return self._array(place)[()]
            case {"member": name, "of": kind}:
                return self._classes[kind].__members__[name]  # type: ignore[attr-defined]
            case {"array": place, "writeable": writeable, "number": number}:
                array = self._array(place)
                array.flags.writeable = writeable
                seen[number] = array
                return array
            case {"is": kind, "fields": content, "number": number}:
                seen[number] = made = _made(self._classes[kind], {name: of(item) for name, item in content.items()})
                return made
        raise ValueError(f"There is no such kind of tree: {str(tree)[:40]}.")

    def _array(self, place: list) -> NDArray:
        number, axes = place
        return self._arrays[number].transpose(np.argsort(axes))


def _names(kind: type) -> tuple[str, ...]:
    return tuple(field.name for field in fields(kind)) if is_dataclass(kind) else kind._fields  # type: ignore[attr-defined]


def _made(kind: type, content: dict[str, Any]) -> Any:
    if set(content) != set(_names(kind)):
        raise ValueError(f"A {kind.__name__} has the fields {', '.join(_names(kind))}; got {', '.join(content)}.")
    if not is_dataclass(kind):
        return kind(**content)
    # Not by the constructor, which might copy an array that two objects share.
    made = object.__new__(kind)
    for name, value in content.items():
        object.__setattr__(made, name, value)
    return made
