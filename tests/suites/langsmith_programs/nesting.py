"""
The programs of LangSmith's page on traces that are split, on threads and tasks: with the hand-overs, and without.
"""

from __future__ import annotations

import asyncio
import gc
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any, List

from tests.edges._threads import DEADLINE, settle
from tests.suites.langsmith_programs._programs import GENERATION, Programs

PROGRAMS = Programs()
REACHED = Programs()  # with `clew.installed()` around

FAN_OUT = """
    fan out
      step
        load
      step
        load
"""
SPLIT = """
    fan out
    step
      load
    step
      load
"""


def step_of(sdk: Any) -> Any:
    @sdk.traceable
    def load() -> None:
        pass

    @sdk.traceable
    def step(number: int) -> int:
        load()
        return number + 1

    return step


@PROGRAMS.add(FAN_OUT)
def pool_of_langsmiths(sdk: Any) -> None:
    step = step_of(sdk)

    @sdk.traceable(name="fan out")
    def fan_out() -> List[int]:
        with sdk.ContextThreadPoolExecutor(max_workers=2) as executor:
            return list(executor.map(step, [1, 2]))

    assert fan_out() == [2, 3]


@PROGRAMS.add(FAN_OUT)
def pool_of_langsmiths_by_submit(sdk: Any) -> None:
    step = step_of(sdk)

    @sdk.traceable(name="fan out")
    def fan_out() -> List[int]:
        with sdk.ContextThreadPoolExecutor() as executor:
            return [future.result(DEADLINE) for future in [executor.submit(step, number) for number in [1, 2]]]

    assert fan_out() == [2, 3]


@PROGRAMS.add(FAN_OUT)
def parent_handed_over_to_a_pool_by_lambda(sdk: Any) -> None:
    step = step_of(sdk)

    @sdk.traceable(name="fan out")
    def fan_out() -> List[int]:
        run = sdk.get_current_run_tree()
        with ThreadPoolExecutor() as executor:
            return list(executor.map(lambda number: step(number, langsmith_extra={"parent": run}), [1, 2]))

    assert fan_out() == [2, 3]


@PROGRAMS.add(FAN_OUT)
def parameter_handed_over_to_a_pool_by_submit(sdk: Any) -> None:
    step = step_of(sdk)

    @sdk.traceable(name="fan out")
    def fan_out(numbers: List[int], run_tree: sdk.RunTree) -> List[int]:
        with ThreadPoolExecutor() as executor:
            jobs = [executor.submit(step, number, langsmith_extra={"parent": run_tree}) for number in numbers]
            return [job.result(DEADLINE) for job in jobs]

    assert fan_out([1, 2]) == [2, 3]


@PROGRAMS.add(FAN_OUT)
def parent_handed_over_to_a_pool_by_block(sdk: Any) -> None:
    step = step_of(sdk)

    @sdk.traceable(name="fan out")
    def fan_out() -> List[int]:
        run = sdk.get_current_run_tree()

        def job(number: int) -> int:
            with sdk.tracing_context(parent=run):
                return int(step(number))

        with ThreadPoolExecutor() as executor:
            return list(executor.map(job, [1, 2]))

    assert fan_out() == [2, 3]


@PROGRAMS.add("""
    request
      work
        step
          load
""")
def headers_handed_over_to_a_thread(sdk: Any) -> None:
    step = step_of(sdk)

    def work(headers: Any) -> None:
        with sdk.tracing_context(parent=headers), sdk.trace("work"):
            step(1)

    with sdk.trace("request") as run:
        thread = threading.Thread(target=work, args=(run.to_headers(),))
        thread.start()
        thread.join(DEADLINE)


@PROGRAMS.add(FAN_OUT)
def parent_handed_over_to_the_blocks_of_a_pool(sdk: Any) -> None:
    def job(number: int, parent: Any) -> int:
        with sdk.trace("step", parent=parent, inputs={"number": number}) as run:
            with sdk.trace("load"):
                pass
            run.end(outputs={"output": number + 1})
        return number + 1

    with sdk.trace("fan out") as run, ThreadPoolExecutor() as executor:
        assert [executor.submit(job, number, run).result(DEADLINE) for number in [1, 2]] == [2, 3]


@REACHED.add(FAN_OUT, bare=SPLIT)
def pool_of_the_stdlibs(sdk: Any) -> None:
    step = step_of(sdk)

    @sdk.traceable(name="fan out")
    def fan_out() -> List[int]:
        with ThreadPoolExecutor(1) as executor:
            settle(executor)  # the worker is somebody else's: where threads inherit, it inherits nothing of this
            return list(executor.map(step, [1, 2]))

    assert fan_out() == [2, 3]


@REACHED.add(FAN_OUT, bare=SPLIT)
def pool_of_the_loops(sdk: Any) -> None:
    step = step_of(sdk)

    @sdk.traceable(name="fan out")
    async def fan_out() -> List[int]:
        loop = asyncio.get_running_loop()
        return list(await asyncio.gather(*[loop.run_in_executor(None, step, number) for number in [1, 2]]))

    assert asyncio.run(fan_out()) == [2, 3]


@REACHED.add(FAN_OUT, bare=SPLIT)
def threads_of_the_stdlibs(sdk: Any) -> None:
    step = step_of(sdk)

    @sdk.traceable(name="fan out")
    def fan_out() -> None:
        threads = [threading.Thread(target=step, args=(number,)) for number in [1, 2]]
        for thread in threads:
            thread.start()
            thread.join(DEADLINE)

    fan_out()


def async_step_of(sdk: Any) -> Any:
    @sdk.traceable
    async def load() -> None:
        await asyncio.sleep(0)

    @sdk.traceable
    async def step(number: int) -> int:
        await load()
        await asyncio.sleep(0)
        return number + 1

    return step


@PROGRAMS.add(FAN_OUT)
def tasks_that_are_gathered(sdk: Any) -> None:
    step = async_step_of(sdk)

    @sdk.traceable(name="fan out")
    async def fan_out() -> List[int]:
        return list(await asyncio.gather(*[step(number) for number in [1, 2]]))

    assert asyncio.run(fan_out()) == [2, 3]


@PROGRAMS.add(FAN_OUT)
def tasks_with_the_parent_handed_over(sdk: Any) -> None:
    step = async_step_of(sdk)

    @sdk.traceable(name="fan out")
    async def fan_out(numbers: List[int], run_tree: sdk.RunTree) -> List[int]:
        jobs = [asyncio.create_task(step(number, langsmith_extra={"parent": run_tree})) for number in numbers]
        return [await job for job in jobs]

    assert asyncio.run(fan_out([1, 2])) == [2, 3]


@PROGRAMS.add(FAN_OUT)
def tasks_without_any_hand_over(sdk: Any) -> None:
    step = async_step_of(sdk)

    @sdk.traceable(name="fan out")
    async def fan_out() -> List[int]:
        return [await job for job in [asyncio.create_task(step(number)) for number in [1, 2]]]

    assert asyncio.run(fan_out()) == [2, 3]


LATE = """
    order
      audit
"""
# LangSmith's newest holds the parent weakly: once it has ended, nothing says whose child a job is.
ORPHAN = "audit\norder" if GENERATION > 9 else None


@PROGRAMS.add(LATE, bare=ORPHAN)
def job_that_outlives_its_caller(sdk: Any) -> None:
    is_over = threading.Event()

    @sdk.traceable
    def audit() -> None:
        pass

    def later() -> None:
        assert is_over.wait(DEADLINE)
        audit()

    with sdk.ContextThreadPoolExecutor(1) as executor:

        @sdk.traceable
        def order() -> None:
            jobs.append(executor.submit(later))

        jobs: List[Any] = []
        order()
        gc.collect()
        is_over.set()
        jobs[0].result(DEADLINE)


@PROGRAMS.add(LATE, bare=ORPHAN)
def task_that_outlives_its_caller(sdk: Any) -> None:
    async def main() -> None:
        is_over = asyncio.Event()
        jobs: List[Any] = []

        @sdk.traceable
        def audit() -> None:
            pass

        async def later() -> None:
            await asyncio.wait_for(is_over.wait(), DEADLINE)
            audit()

        @sdk.traceable
        async def order() -> None:
            jobs.append(asyncio.ensure_future(later()))

        await order()
        gc.collect()
        is_over.set()
        await jobs[0]

    asyncio.run(main())
