"""
`wrap_coroutine` and accessors: the values are swapped in and back around every step.
"""

from __future__ import annotations

import threading
from contextvars import Context
from types import SimpleNamespace
from typing import Any, Iterator, List

import pytest

import clew
from tests.context._coroutines import finish, in_thread, suspend

local = threading.local()


@pytest.fixture
def tenant() -> Iterator[threading.local]:
    """Register an accessor for a thread-local attribute, which is "ada" on this thread."""
    unregister = clew.register_accessor("tenant", clew.thread_local_accessor(local, "tenant"))
    local.tenant = "ada"
    yield local
    unregister()
    del local.tenant


async def changes_tenant() -> List[object]:
    seen = []
    for number in range(3):
        seen.append(local.tenant)
        local.tenant = number
        await suspend()
        seen.append(local.tenant)
    return seen


@pytest.mark.parametrize("capture", [Context, clew.capture])
def test_accessors_values_are_swapped_around_every_step(tenant: threading.local, capture: Any) -> None:
    wrapped = clew.wrap_coroutine(changes_tenant(), capture())

    def step() -> object:
        tenant.tenant = "of the consumer"
        wrapped.send(None)
        return tenant.tenant

    assert [step(), in_thread(step), step()] == ["of the consumer"] * 3
    assert in_thread(finish, wrapped) == ["ada", 0, 0, 1, 1, 2]
    assert not in_thread(hasattr, tenant, "tenant")


def test_accessors_values_are_swapped_in_a_context_that_is_current_too(tenant: threading.local) -> None:
    def consumer() -> object:
        wrapped = clew.wrap_coroutine(changes_tenant(), context)
        tenant.tenant = "of the consumer"
        return finish(wrapped), tenant.tenant

    context = Context()
    assert context.run(consumer) == (["ada", 0, 0, 1, 1, 2], "of the consumer")


def test_accessors_values_survive_a_coroutine_that_steps_itself(tenant: threading.local) -> None:
    async def steps_itself() -> object:
        tenant.tenant = "of the body"
        with pytest.raises(ValueError, match="already executing"):
            wrapped.send(None)
        await suspend(tenant.tenant)
        return tenant.tenant

    wrapped = clew.wrap_coroutine(steps_itself(), Context())
    assert wrapped.send(None) == "of the body"
    assert tenant.tenant == "ada"
    assert finish(wrapped) == "of the body"


def test_each_of_several_accessors_is_swapped(tenant: threading.local) -> None:
    async def changes_both() -> object:
        other.tenant = tenant.tenant = "of the body"
        await suspend()
        return other.tenant, tenant.tenant

    other = SimpleNamespace(tenant="of everybody")
    unregister = clew.register_accessor("other", clew.thread_local_accessor(other, "tenant"))  # type: ignore[arg-type]
    try:
        wrapped = clew.wrap_coroutine(changes_both(), Context())
    finally:
        unregister()  # captured values are still carried
    wrapped.send(None)
    assert (other.tenant, tenant.tenant) == ("of everybody", "ada")
    assert finish(wrapped) == ("of the body", "of the body")
    assert (other.tenant, tenant.tenant) == ("of everybody", "ada")
