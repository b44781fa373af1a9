"""
The ids of runs in the records of the real `logging`: whose they are, where a format needs them, and what stays.
"""

from __future__ import annotations

import asyncio
import copy
import logging
import logging.config
import logging.handlers
import pickle
import queue
from concurrent.futures import Executor, ThreadPoolExecutor
from io import BytesIO, StringIO
from typing import Any, Callable, Dict, Iterator, List, Set, Tuple, Type

import pytest

import clew
import clew.errors
from clew.integrations.logging import RunContextFilter, install_record_factory, uninstall_record_factory
from clew.runs._tree import forks
from clew.runs._tree.settings import settings
from tests.edges._threads import DEADLINE, in_empty_context, settle

FORMATS = [
    ("%", "%(trace_id)s %(span_id)s %(run_id)s"),
    ("{", "{trace_id} {span_id} {run_id}"),
    ("$", "$trace_id ${span_id} $run_id"),
]
NONE = ("", "", "")


class Kept(logging.Handler):
    """Keep the records."""

    def __init__(self) -> None:
        super().__init__()
        self.records: List[Any] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)

    def ids(self) -> List[Tuple[str, str, str]]:
        return [ids_in(record) for record in self.records]


def ids_in(record: Any) -> Tuple[str, str, str]:
    return record.trace_id, record.span_id, record.run_id


def ids_of(run: Any) -> Tuple[str, str, str]:
    return run.trace_id.hex, run.span_id, str(run.id)


class Unpickler(pickle.Unpickler):
    """Collect the packages whose classes and functions a pickle refers to."""

    def __init__(self, pickled: bytes) -> None:
        super().__init__(BytesIO(pickled))
        self.packages: Set[str] = set()

    def find_class(self, module: str, name: str) -> Any:
        self.packages.add(module.partition(".")[0])
        return super().find_class(module, name)


def packages_needed_by(pickled: bytes) -> Set[str]:
    unpickler = Unpickler(pickled)
    unpickler.load()
    return unpickler.packages


def a_log() -> Tuple[logging.Logger, Kept]:
    """Return a logger that is in no tree of loggers, and its handler."""
    log, kept = logging.Logger("test"), Kept()  # noqa: LOG001  nobody else is to find it
    log.addHandler(kept)
    return log, kept


@pytest.fixture
def log() -> logging.Logger:
    return a_log()[0]


@pytest.fixture
def kept(log: logging.Logger) -> Kept:
    handler: Any = log.handlers[0]
    return handler


@pytest.fixture
def filtered(log: logging.Logger, kept: Kept) -> Kept:
    log.addFilter(RunContextFilter())
    return kept


@pytest.fixture
def factory() -> Iterator[Callable[..., Any]]:
    """Yield the current record factory. After the test, undo each installation."""
    before = logging.getLogRecordFactory()
    yield before
    after = logging.getLogRecordFactory()
    while True:
        try:
            uninstall_record_factory()
        except clew.errors.NotInstalledError:
            break
    logging.setLogRecordFactory(before)
    assert after is before


def test_a_record_has_the_ids_of_the_run_it_is_written_in(log: logging.Logger, filtered: Kept) -> None:
    with clew.record(), clew.trace("outer") as outer:
        log.info("one")
        with clew.trace("inner") as inner:
            log.info("two")
        log.info("three")
    assert filtered.ids() == [ids_of(outer), ids_of(inner), ids_of(outer)]
    assert f"00-{filtered.records[0].trace_id}-{filtered.records[0].span_id}-03" == outer.to_headers()["traceparent"]
    assert inner.trace_id == outer.id


@pytest.mark.parametrize(("style", "text"), FORMATS)
def test_a_format_never_fails_where_there_is_no_run(style: Any, text: str) -> None:
    (log, _), written = a_log(), StringIO()
    handler = logging.StreamHandler(written)
    handler.setFormatter(logging.Formatter(f"[{text}]", style=style))
    handler.addFilter(RunContextFilter())
    log.addHandler(handler)
    log.info("no run")
    with clew.trace("nobody records this"):
        log.info("no run either")
    with clew.record(), clew.trace("recorded") as run:
        log.info("a run")
    assert written.getvalue().splitlines() == ["[  ]", "[  ]", f"[{' '.join(ids_of(run))}]"]


def test_a_run_that_has_ended_still_gives_its_ids(log: logging.Logger, filtered: Kept) -> None:
    with clew.record(), clew.trace("request") as run:
        job = clew.bind(log.info)
    job("late")
    assert filtered.ids() == [ids_of(run)]


W3C = {"traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"}
LANGSMITH = {"langsmith-trace": "20240101T000000000000Z018c0000-0000-7000-8000-0000000000ab"}


@pytest.mark.parametrize(
    ("headers", "trace_id", "span_id"),
    [
        (W3C, "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"),
        ({"traceparent": W3C["traceparent"][:-1] + "0"}, "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"),
        (LANGSMITH, "018c00000000700080000000000000ab", "80000000000000ab"),
    ],
)
def test_under_headers_alone_the_ids_are_the_callers_and_the_run_is_nobodys(
    headers: Dict[str, str], trace_id: str, span_id: str, log: logging.Logger, filtered: Kept
) -> None:
    with clew.tracing_context(parent=headers):
        log.info("before any run")
    with clew.tracing_context(parent=headers, trusted=False):
        log.info("of somebody who may be anybody")
    assert filtered.ids() == [(trace_id, span_id, ""), NONE]


def test_a_run_under_headers_has_the_callers_trace_and_its_own_span(log: logging.Logger, filtered: Kept) -> None:
    with clew.record(), clew.tracing_context(parent=W3C), clew.trace("serve") as run:
        log.info("in it")
    assert filtered.ids() == [("4bf92f3577b34da6a3ce929d0e0e4736", run.span_id, str(run.id))]


def test_in_a_trace_that_the_sampler_leaves_out_the_ids_are_those_that_are_sent(
    log: logging.Logger, filtered: Kept, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(settings, "sampler", 0.0)
    with clew.record() as runs, clew.trace("root"), clew.trace("below"):
        log.info("one")
        log.info("two")
        sent = clew.get_current_headers()["traceparent"]
    monkeypatch.undo()
    assert len(runs) == 0
    one, two = filtered.ids()
    assert one == two
    assert sent.split("-")[1] == one[0] == one[2].replace("-", "")
    assert one[2].endswith(one[1][4:])


def test_a_record_keeps_what_it_has(log: logging.Logger, filtered: Kept) -> None:
    filtered.addFilter(RunContextFilter())  # a second one, which finds all there
    with clew.record(), clew.trace("step") as run:
        log.info("ours")
        log.info("theirs", extra={"trace_id": "theirs", "run_id": 7})
    assert filtered.ids() == [ids_of(run), ("theirs", run.span_id, 7)]


def test_the_filter_lets_pass_what_any_filter_of_that_name_does(log: logging.Logger, kept: Kept) -> None:
    kept.addFilter(RunContextFilter("shop"))
    for name in ("shop", "shop.till", "shopping"):
        log.handle(logging.LogRecord(name, logging.INFO, "", 1, "", (), None))
    assert [record.name for record in kept.records] == ["shop", "shop.till"]


def test_a_configuration_can_name_the_filter(log: logging.Logger, kept: Kept) -> None:
    configurator: Any = logging.config.DictConfigurator({})
    # What dictConfig makes of an entry under "filters"; all of it would close the handlers of this process.
    log.addFilter(configurator.configure_filter({"()": "clew.integrations.logging.RunContextFilter"}))
    with clew.record(), clew.trace("step") as run:
        log.info("in it")
    assert kept.ids() == [ids_of(run)]


def logged_by(pool_class: Type[Executor], log: logging.Logger) -> Any:
    """Return the run that a pool's job was submitted in; the job logs."""

    def request() -> Any:
        with pool_class(1) as pool:  # type: ignore[call-arg]
            settle(pool)  # the worker is somebody else's: where threads inherit, it inherits nothing of this
            with clew.trace("request") as run:
                pool.submit(log.info, "in a job").result(DEADLINE)
        return run

    with clew.record():
        return in_empty_context(request)


def test_bare_pool_loses_the_ids(log: logging.Logger, filtered: Kept) -> None:
    logged_by(ThreadPoolExecutor, log)
    assert filtered.ids() == [NONE]


def test_pool_keeps_the_ids(log: logging.Logger, filtered: Kept) -> None:
    run = logged_by(clew.ContextThreadPoolExecutor, log)
    assert filtered.ids() == [ids_of(run)]


def test_tasks_that_take_turns_each_have_their_own(log: logging.Logger, filtered: Kept) -> None:
    runs: List[Any] = []

    async def request() -> None:
        with clew.trace("request") as run:
            runs.append(run)
            for _ in range(3):
                log.info("%s", str(run.id))
                await asyncio.sleep(0)

    async def main() -> None:
        await asyncio.wait_for(asyncio.gather(*[request() for _ in range(3)]), DEADLINE)

    with clew.record():
        in_empty_context(asyncio.run, main())
    assert [record.getMessage() for record in filtered.records] == [record.run_id for record in filtered.records]
    assert [record.run_id for record in filtered.records] == [str(run.id) for run in runs] * 3


def lines_between_steps(decorate: Callable[[Any], Any], log: logging.Logger) -> None:
    def body() -> Iterator[int]:
        with clew.trace("body"):
            log.info("body")
            yield 1
            log.info("body")

    def consume() -> None:
        with clew.trace("consumer"):
            log.info("consumer")
            for _ in decorate(body)():
                log.info("consumer")
            log.info("consumer")

    with clew.record() as runs:
        in_empty_context(consume)
    names = {str(run.id): run.name for run in runs}
    log.info(" ".join(names.values()), extra={"names": names})


def told_and_found(kept: Kept) -> List[Tuple[str, str]]:
    names = kept.records.pop().names
    return [(record.getMessage(), names[record.run_id]) for record in kept.records]


BODY, CONSUMER = ("body", "body"), ("consumer", "consumer")


def test_bare_generator_gives_its_ids_to_the_consumers_lines(log: logging.Logger, filtered: Kept) -> None:
    lines_between_steps(lambda body: body, log)
    assert told_and_found(filtered) == [CONSUMER, BODY, ("consumer", "body"), BODY, CONSUMER]


def test_context_generator_and_its_consumer_each_have_their_own(log: logging.Logger, filtered: Kept) -> None:
    lines_between_steps(clew.context_generator, log)
    assert told_and_found(filtered) == [CONSUMER, BODY, CONSUMER, BODY, CONSUMER]


def heard_over_a_queue(log: logging.Logger, *, filters_on: str) -> List[Tuple[str, str, str]]:
    records: Any = queue.Queue()
    kept, by_queue = Kept(), logging.handlers.QueueHandler(records)
    log.handlers[:] = [by_queue]
    {"logger": log, "queue": by_queue, "listener": kept}[filters_on].addFilter(RunContextFilter())  # type: ignore[attr-defined]
    listener = logging.handlers.QueueListener(records, kept)
    in_empty_context(listener.start)
    try:
        log.info("for the listener")
    finally:
        listener.stop()
    return kept.ids()


@pytest.mark.parametrize("place", ["logger", "queue"])
def test_before_a_queue_the_filter_finds_the_run(place: str, log: logging.Logger) -> None:
    with clew.record(), clew.trace("step") as run:
        assert heard_over_a_queue(log, filters_on=place) == [ids_of(run)]


def test_behind_a_queue_the_filter_is_too_late(log: logging.Logger) -> None:
    with clew.record(), clew.trace("step"):
        assert heard_over_a_queue(log, filters_on="listener") == [NONE]


def test_a_line_is_written_also_where_its_ids_cannot_be_made(
    log: logging.Logger, filtered: Kept, monkeypatch: pytest.MonkeyPatch, factory: object
) -> None:
    def fail(*_: object) -> str:
        raise OSError("no randomness")

    counted = clew.stats().get("log_lines_failed", 0)
    with clew.record(), clew.trace("step"):
        monkeypatch.setattr(forks, "new_id_text", fail)
        log.info("by the filter")
        install_record_factory()
        log.info("by the factory")
        uninstall_record_factory()
        monkeypatch.undo()
    assert filtered.ids() == [NONE, NONE]
    assert clew.stats()["log_lines_failed"] >= counted + 2


def test_the_factory_gives_every_record_of_the_process_its_ids(factory: object) -> None:
    (one, kept_one), (two, kept_two) = a_log(), a_log()
    install_record_factory()
    with clew.record(), clew.trace("step") as run:
        one.info("one")
        two.info("two")
    one.info("no run")
    uninstall_record_factory()
    one.info("as before")
    assert [hasattr(record, "run_id") for record in kept_one.records] == [True, True, False]
    assert [ids_in(record) for record in kept_one.records[:2]] == [ids_of(run), NONE]
    assert kept_two.ids() == [ids_of(run)]


@pytest.mark.parametrize(("style", "text"), FORMATS)
def test_a_record_of_the_factory_can_be_formatted_copied_and_sent(style: Any, text: str, factory: object) -> None:
    log, kept = a_log()
    install_record_factory()
    with clew.record(), clew.trace("step") as run:
        log.info("%s", "sent", extra={"user": "ada"})
    uninstall_record_factory()
    sent = pickle.dumps(kept.records[0])
    needed = packages_needed_by(sent)
    assert "logging" in needed
    assert "clew" not in needed
    formatter = logging.Formatter(f"%(user)s {text}" if style == "%" else text, style=style)
    for record in (kept.records[0], copy.copy(kept.records[0]), copy.deepcopy(kept.records[0]), pickle.loads(sent)):
        assert ids_in(record) == ids_of(run)
        assert formatter.format(record).endswith(" ".join(ids_of(run)))
        assert (record.user, record.getMessage()) == ("ada", "sent")
        assert set(ids_of(run)) <= set(vars(record).values())


def test_extra_goes_over_what_the_factory_has_given(factory: object) -> None:
    log, kept = a_log()
    install_record_factory()
    with clew.record(), clew.trace("step") as run:
        log.info("theirs", extra={"trace_id": "theirs", "user": "ada"})
        with pytest.raises(KeyError, match="overwrite"):
            log.info("as ever", extra={"name": "theirs"})  # noqa: G101  that it clashes is the point
    assert kept.ids() == [("theirs", run.span_id, str(run.id))]
    uninstall_record_factory()


def test_the_factory_is_there_until_each_install_had_its_uninstall(factory: Callable[..., Any]) -> None:
    install_record_factory()
    once = logging.getLogRecordFactory()
    install_record_factory()
    assert logging.getLogRecordFactory() is once is not factory
    uninstall_record_factory()
    assert logging.getLogRecordFactory() is once
    uninstall_record_factory()
    assert logging.getLogRecordFactory() is factory
    with pytest.raises(clew.errors.NotInstalledError, match="found none left to undo") as raised:
        uninstall_record_factory()
    assert isinstance(raised.value, RuntimeError)


class TheirRecord(logging.LogRecord):
    """A record class of another library."""


def test_the_factory_that_was_there_makes_the_records(factory: object) -> None:
    logging.setLogRecordFactory(TheirRecord)
    try:
        install_record_factory()
        log, kept = a_log()
        log.info("one")
        assert type(kept.records[0]) is TheirRecord
        assert kept.ids() == [NONE]
        uninstall_record_factory()
        assert logging.getLogRecordFactory() is TheirRecord
    finally:
        logging.setLogRecordFactory(logging.LogRecord)


def test_what_the_factory_that_was_there_raises_is_raised(factory: Callable[..., Any]) -> None:
    logging.setLogRecordFactory(lambda *_, **__: 1 / 0)  # type: ignore[arg-type,return-value]
    try:
        install_record_factory()
        with pytest.raises(ZeroDivisionError):
            a_log()[0].info("one")
        uninstall_record_factory()
    finally:
        logging.setLogRecordFactory(factory)


class Slotted:
    """A record to which no attributes can be added."""

    __slots__ = ()


def test_a_record_that_can_have_no_ids_goes_on_without(factory: Callable[..., Any]) -> None:
    counted = clew.stats().get("log_lines_failed", 0)
    logging.setLogRecordFactory(lambda *_, **__: Slotted())  # type: ignore[arg-type,return-value]
    try:
        install_record_factory()
        assert type(a_log()[0].makeRecord("", logging.INFO, "", 1, "one", (), None)) is Slotted
        uninstall_record_factory()
    finally:
        logging.setLogRecordFactory(factory)
    assert clew.stats()["log_lines_failed"] > counted


def wrapped(below: Callable[..., Any]) -> Callable[..., Any]:
    def theirs(*args: Any, **kwargs: Any) -> Any:
        record = below(*args, **kwargs)
        record.theirs = True
        return record

    return theirs


def one_record() -> Any:
    log, kept = a_log()
    log.info("one")
    return kept.records[0]


def test_what_was_put_on_top_stays_and_clews_below_does_nothing_any_more(factory: Callable[..., Any]) -> None:
    left = clew.stats().get("patches_left_behind", 0)
    install_record_factory()
    below = logging.getLogRecordFactory()
    logging.setLogRecordFactory(wrapped(below))
    assert one_record().theirs
    assert ids_in(one_record()) == NONE
    uninstall_record_factory()
    assert clew.stats()["patches_left_behind"] == left + 1
    assert one_record().theirs
    assert not hasattr(one_record(), "run_id")
    logging.setLogRecordFactory(below)  # as they undo theirs
    assert not hasattr(one_record(), "run_id")
    install_record_factory()
    assert ids_in(one_record()) == NONE
    uninstall_record_factory()
    assert logging.getLogRecordFactory() is factory


def test_a_second_install_is_on_top_of_what_has_replaced_the_first(factory: Callable[..., Any]) -> None:
    left = clew.stats().get("patches_left_behind", 0)
    install_record_factory()
    logging.setLogRecordFactory(TheirRecord)  # which knows nothing of clew's
    assert not hasattr(one_record(), "run_id")
    install_record_factory()
    assert ids_in(one_record()) == NONE
    uninstall_record_factory()
    assert logging.getLogRecordFactory() is TheirRecord
    assert clew.stats().get("patches_left_behind", 0) == left
    uninstall_record_factory()
    assert logging.getLogRecordFactory() is TheirRecord
    assert clew.stats()["patches_left_behind"] == left + 1
    logging.setLogRecordFactory(factory)


def test_taking_turns_with_somebody_else_makes_no_chain(factory: Callable[..., Any]) -> None:
    for _ in range(50):
        install_record_factory()
        below = logging.getLogRecordFactory()
        logging.setLogRecordFactory(wrapped(below))
        uninstall_record_factory()
        logging.setLogRecordFactory(below)
    native: Any = logging.getLogRecordFactory()
    assert native.native is factory
    logging.setLogRecordFactory(factory)


def test_threads_that_install_and_uninstall_leave_what_was_there(factory: Callable[..., Any]) -> None:
    def in_turn(_: int) -> None:
        for _ in range(200):
            install_record_factory()
            assert ids_in(one_record()) == NONE
            uninstall_record_factory()

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(in_turn, range(4), timeout=DEADLINE))
    assert logging.getLogRecordFactory() is factory
