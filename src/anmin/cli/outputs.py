"""Checking, before any work, that results can be written."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path


def check_outputs(outputs: dict[str, Path | None], inputs: Sequence[str | Path]) -> None:
    """Raise OSError or ValueError unless each output file can be written.

    Parameters
    ----------
    outputs : dict
        Paths by the names of their options; None where the option was not given.
    inputs : sequence
        Files that are read, which no output may replace.
    """
    taken: dict[Path, str] = {Path(path).resolve(): str(path) for path in inputs}
    for option, path in outputs.items():
        if path is None:
            continue
        folder = path.parent
        if path.is_dir():
            raise IsADirectoryError(f"{option} must name a file; {path} is a folder.")
        if not folder.is_dir():
            raise FileNotFoundError(f"Cannot write {path}: there is no folder {folder}.")
        if not os.access(folder, os.W_OK) or (path.exists() and not os.access(path, os.W_OK)):
            raise PermissionError(f"Cannot write {path}: this user may not write there.")
        resolved = path.resolve()
        if resolved in taken:
            raise ValueError(f"{option} {path} would replace {taken[resolved]}; name another file.")
        taken[resolved] = f"{path}, which {option} names too"
