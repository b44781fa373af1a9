"""
Every operation of the generator protocol reaches the body, and in the body's own context (G10).

That the trace of such operations is the bare one's is for the differential tests; here it is about contexts.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, AsyncIterator, Callable, Dict, Generator, Iterable, List, Tuple

import pytest

from tests.context._coroutines import finish, suspend
from tests.context._loops import Main
from tests.edges._generators import Keep, as_user, bare, in_task, keeps, on_every_loop, pause
from tests.edges._threads import in_empty_context, user

if TYPE_CHECKING:
    from contextvars import Context

Run = Callable[[Main], Any]
Heard = List[Tuple[object, object]]

OPERATIONS: Dict[str, Callable[[Any], Any]] = {
    "next": next,
    "send None": lambda generator: generator.send(None),
    "send": lambda generator: generator.send("sent"),
    "throw": lambda generator: generator.throw(KeyError("thrown")),
    "close": lambda generator: generator.close(),
}

ASYNC_OPERATIONS: Dict[str, Callable[[Any], Any]] = {
    "next": lambda generator: generator.__anext__(),
    "send None": lambda generator: generator.asend(None),
    "send": lambda generator: generator.asend("sent"),
    "throw": lambda generator: generator.athrow(KeyError("thrown")),
    "close": lambda generator: generator.aclose(),
}

SCRIPTS = [
    ("next", "next", "send", "throw", "next", "close"),
    ("send None", "send", "send", "close", "close"),
    ("next", "throw", "throw", "send", "next", "next", "next"),
    ("throw", "next"),
    ("close", "next"),
    ("next", "close", "send"),
]


def hears(heard: Heard) -> Generator[Any, Any, Any]:
    """Note each operation with the user at that time; five of them are answered."""
    token = user.set("body")
    for number in range(5):
        try:
            heard.append(((yield number), user.get()))
        except KeyError as error:
            heard.append((error.args[0], user.get()))
        except GeneratorExit:
            heard.append(("GeneratorExit", user.get()))
            raise
    heard.append(("reset", reset(token)))
    return "returned"


def reset(token: Any) -> object:
    try:
        user.reset(token)
    except ValueError:
        return "cannot"
    return user.get()


async def hears_async(heard: Heard) -> Any:
    token = user.set("body")
    for number in range(5):
        try:
            await pause()
            heard.append(((yield number), user.get()))
        except KeyError as error:
            await pause()
            heard.append((error.args[0], user.get()))
        except GeneratorExit:
            await pause()
            heard.append(("GeneratorExit", user.get()))
            raise
    heard.append(("reset", reset(token)))


def outcome_of(fn: Callable[..., Any], *args: Any) -> object:
    try:
        return "gave", fn(*args)
    except (StopIteration, StopAsyncIteration) as ended:
        return "ended", ended.args
    except KeyError as error:
        return "raised", error.args


def performed(keep: Keep, script: Iterable[str], contexts: Callable[[int], Context]) -> Any:
    """Return what came of each operation, each in a context of its own, and what the body has heard."""
    heard: Heard = []
    generator = contexts(-1).run(keep(hears), heard)
    outcomes = [contexts(n).run(outcome_of, OPERATIONS[name], generator) for n, name in enumerate(script)]
    return outcomes, heard


def performed_async(keep: Keep, script: Iterable[str], contexts: Callable[[int], Context]) -> Any:
    def operate(name: str) -> Any:
        async def await_it() -> Any:
            return await ASYNC_OPERATIONS[name](generator)

        return finish(await_it())

    heard: Heard = []
    generator = contexts(-1).run(keep(hears_async), heard)
    outcomes = [contexts(n).run(outcome_of, operate, name) for n, name in enumerate(script)]
    return outcomes, heard


def one(*_: int) -> Callable[[int], Context]:
    """Give the same context to all, as the bare one has to have it."""
    context = as_user("ada")
    return lambda _: context


def each_its_own(number: int) -> Context:
    return as_user("ada" if number == -1 else f"consumer {number}")


both = pytest.mark.parametrize("perform", [performed, performed_async], ids=["sync", "async"])


@both
@pytest.mark.parametrize("script", SCRIPTS)
def test_bare_generator_hears_operations_in_the_contexts_of_their_consumers(
    perform: Callable[..., Any], script: Any
) -> None:
    _, heard = perform(bare, script, each_its_own)
    assert [who for _, who in heard if who == "body"] == []


@keeps
@both
@pytest.mark.parametrize("script", SCRIPTS)
def test_generator_hears_all_operations_in_its_own_context(
    perform: Callable[..., Any], keep: Keep, script: Any
) -> None:
    expected = perform(bare, script, one())
    assert perform(keep, script, one()) == expected
    outcomes, heard = perform(keep, script, each_its_own)
    assert outcomes == expected[0]
    assert [said for said, _ in heard] == [said for said, _ in expected[1]]
    assert {who for said, who in heard if said != "reset"} <= {"body"}
    assert "cannot" not in [who for _, who in heard]


async def performed_in_tasks(keep: Keep, script: Iterable[str]) -> Any:
    async def operate(name: str) -> object:
        user.set(f"consumer {name}")
        try:
            return "gave", await ASYNC_OPERATIONS[name](generator)
        except StopAsyncIteration:
            return "ended", ()
        except KeyError as error:
            return "raised", error.args

    user.set("ada")
    heard: Heard = []
    generator = keep(hears_async)(heard)
    outcomes = [await in_task(operate(name)) for name in script]
    await generator.aclose()
    return outcomes, heard, user.get()


@keeps
@on_every_loop
@pytest.mark.parametrize("script", SCRIPTS)
def test_generator_hears_tasks_in_its_own_context(keep: Keep, run: Run, script: Any) -> None:
    outcomes, heard, after = in_empty_context(run, lambda: performed_in_tasks(keep, script))
    assert outcomes == performed_async(bare, script, one())[0]
    assert {who for said, who in heard if said != "reset"} <= {"body"}
    assert "cannot" not in [who for _, who in heard]
    assert after == "ada"


# `yield from`


def test_bare_generator_delegated_to_hears_its_consumer_and_the_kept_one_itself() -> None:
    assert delegated(bare)[1] == [("sent", "consumer 1"), ("thrown", "consumer 2"), ("reset", "cannot")]


@keeps
def test_generator_delegated_to_hears_all_operations_in_its_own_context(keep: Keep) -> None:
    outcomes, heard = delegated(keep)
    assert outcomes == [("gave", 0), ("gave", 1), ("gave", 2), ("ended", ("returned by it",))]
    assert [who for said, who in heard if said != "reset"] == ["body"] * 2
    assert heard[-1] != ("reset", "cannot")


def delegated(keep: Keep) -> Any:
    """Return what came of operations on a bare generator that delegates, and what the inner one has heard."""

    def short() -> Generator[Any, Any, Any]:
        token = user.set("body")
        for number in range(3):
            try:
                heard.append(((yield number), user.get()))
            except KeyError as error:
                heard.append((error.args[0], user.get()))
        heard.append(("reset", reset(token)))
        return "returned"

    def delegates() -> Generator[Any, Any, Any]:
        return (yield from kept) + " by it"

    heard: Heard = []
    kept = as_user("ada").run(keep(short))
    generator = delegates()
    script = ("next", "send", "throw", "next")
    outcomes = [each_its_own(n).run(outcome_of, OPERATIONS[name], generator) for n, name in enumerate(script)]
    return outcomes, [each for each in heard if each[0] is not None]


async def looped_over(keep: Keep) -> Any:
    async def numbers() -> AsyncIterator[object]:
        token = user.set("body")
        for _ in range(2):
            await pause()
            yield user.get()
        user.reset(token)

    async def delegates() -> AsyncIterator[object]:
        async for each in keep(numbers)():
            yield each, user.get()

    return [(each, user.get()) async for each in delegates()]


@keeps
@on_every_loop
def test_generator_looped_over_in_a_bare_one_keeps_its_value(keep: Keep, run: Run) -> None:
    assert in_empty_context(run, lambda: looped_over(bare)) == [(("body", "body"), "body")] * 2
    assert in_empty_context(run, lambda: looped_over(keep)) == [(("body", "nobody"), "nobody")] * 2


async def suspends_when_closed() -> AsyncIterator[None]:
    """Suspend before each yield and twice when something is thrown in."""
    await suspend()
    try:
        await suspend()
        yield
    finally:
        await suspend()
        await suspend()


def thrown_twice(make: Callable[[], Any]) -> List[object]:
    """Return what comes of an exception thrown into a step not begun, and of another while that is handled."""
    generator = make()
    finish(generator.__anext__())
    step = generator.__anext__()
    given = [step.throw(KeyError("of the first"))]
    with pytest.raises(ValueError, match="of the second") as raised:
        step.throw(ValueError, ValueError("of the second"), None)
    return [*given, type(raised.value.__context__)]


@pytest.mark.filterwarnings("ignore:the .*signature of throw:DeprecationWarning")
@keeps
def test_exception_in_three_parts_is_thrown_in_while_another_one_is_handled(keep: Keep) -> None:
    assert thrown_twice(keep(suspends_when_closed)) == thrown_twice(suspends_when_closed)
