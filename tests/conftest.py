"""What tests of several rooms share."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

import pytest

from handbone.utils.errors import UserError

Fails = Callable[..., AbstractContextManager[pytest.ExceptionInfo[UserError]]]


@pytest.fixture
def fails() -> Fails:
    """`with fails("annotation.label", "a.json"):` expects a `UserError` with exactly these codes' set, each place named somewhere in it."""

    @contextmanager
    def expect(code: str, *places: str) -> Iterator[pytest.ExceptionInfo[UserError]]:
        with pytest.raises(UserError) as caught:
            yield caught
        assert caught.value.codes == {code}, caught.value
        for place in places:
            assert any(place in found for found in caught.value.places), caught.value

    return expect
