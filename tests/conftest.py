from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from threadpoolctl import threadpool_limits

from hostile import Victim
from problems import CASES, Case


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> Iterator[None]:
    """Keep BLAS to one thread: on problems this small, threads that share the cores with other work cost more."""
    with threadpool_limits(1):
        yield


@pytest.fixture(params=CASES, ids=lambda case: case.name)
def case(request: pytest.FixtureRequest) -> Case:
    """Every kind of problem in turn."""
    return request.param


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of public data sets, where there is one."""
    folder = Path(os.environ.get("ANMIN_DATA", Path(__file__).parents[2] / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip("the public data sets are not on this machine (set ANMIN_DATA to their folder)")
    return folder


@pytest.fixture(scope="session")
def victim() -> Iterator[Victim]:
    """The process that meets hostile inputs, which starts at the first of them."""
    if sys.platform != "linux":
        pytest.skip("memory is limited and measured as Linux has it")
    with Victim() as victim:
        yield victim
