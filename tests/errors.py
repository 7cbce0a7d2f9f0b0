"""What a test asks of an error: its class, its code and the names it must tell, not its wording."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TypeVar

import pytest

from zoo.errors import ZooError

E = TypeVar("E", bound=ZooError)


@contextmanager
def raises(kind: type[E], code: str, *names: object) -> Iterator[pytest.ExceptionInfo[E]]:
    """Expect an error of a class and a code; message, cause or hint must hold every name."""
    with pytest.raises(kind) as caught:
        yield caught
    assert caught.value.code == code, caught.value
    told = str(caught.value)
    missing = [str(name) for name in names if str(name) not in told]
    assert not missing, f"{missing} in: {told}"
