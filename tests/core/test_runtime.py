"""The two drivers: what gather, exclusive and the thread pools promise."""

from __future__ import annotations

import asyncio
import contextvars
import os
import threading
import time

import pytest

from memkit_core.errors import UsageError
from memkit_core.runtime import AsyncRuntime, BlockingRuntime, Gates, Workers, drive

who: contextvars.ContextVar[str] = contextvars.ContextVar("who", default="nobody")


@pytest.fixture
def workers():
    pool = Workers(3, "test")
    yield pool
    pool.close()


@pytest.fixture
def blocking(workers):
    return BlockingRuntime(Gates(), workers)


def test_a_suspending_coroutine_is_named_as_a_bug():
    async def suspends():
        await asyncio.sleep(0)

    with pytest.raises(RuntimeError, match="suspends suspended under BlockingRuntime"):
        drive(suspends())


async def test_blocking_works_inside_a_running_loop(blocking):
    async def work(n):
        return await blocking.call(lambda: n * 2)

    assert drive(blocking.gather(*(work(n) for n in range(5)))) == [0, 2, 4, 6, 8]


def test_nested_gathers_beyond_the_pool_do_not_deadlock(blocking):
    async def tree(depth):
        if depth == 0:
            return 1
        return sum(await blocking.gather(*(tree(depth - 1) for _ in range(4))))

    assert drive(tree(4)) == 256


def test_gather_runs_side_by_side(blocking):
    barrier = threading.Barrier(3, timeout=30)

    async def meet():
        await blocking.call(barrier.wait)

    drive(blocking.gather(meet(), meet(), meet()))  # would break the barrier if they ran one by one


def test_a_failing_child_waits_for_its_siblings_and_the_first_error_in_order_wins(blocking):
    finished = []

    async def child(n, error):
        await blocking.sleep(0.05 * (3 - n))
        finished.append(n)
        if error is not None:
            raise error

    with pytest.raises(ValueError, match="first in order"):
        drive(
            blocking.gather(
                child(0, ValueError("first in order")), child(1, KeyError("first in time")), child(2, None)
            )
        )
    assert sorted(finished) == [0, 1, 2]


async def test_the_same_in_async(workers):
    rt = AsyncRuntime(Gates(), workers)
    finished = []

    async def child(n, error):
        await rt.sleep(0.05 * (3 - n))
        finished.append(n)
        if error is not None:
            raise error

    with pytest.raises(ValueError, match="first in order"):
        await rt.gather(
            child(0, ValueError("first in order")), child(1, KeyError("first in time")), child(2, None)
        )
    assert sorted(finished) == [0, 1, 2]


def test_children_see_the_callers_context_and_do_not_write_to_it(blocking):
    async def child():
        seen = who.get()
        who.set("child")
        return seen

    who.set("caller")
    assert drive(blocking.gather(child(), child(), child())) == ["caller"] * 3


async def test_storage_calls_of_async_code_see_the_callers_context(workers):
    rt = AsyncRuntime(Gates(), workers)
    who.set("task")
    assert await rt.call(who.get) == "task"


async def test_work_of_storage_calls_runs_on_one_thread_and_in_the_callers_context(workers, blocking):
    who.set("task")

    async def work(rt):
        first = await rt.call(threading.get_ident)
        return {first, *await rt.gather(rt.call(threading.get_ident))}, await rt.call(who.get)

    threads, seen = await AsyncRuntime(Gates(), workers).stored(work)
    assert len(threads) == 1
    assert threads != {threading.get_ident()}
    assert seen == "task"
    assert drive(blocking.stored(work)) == ({threading.get_ident()}, "task")

    async def fails(rt):
        await rt.call(lambda: int("x"))

    with pytest.raises(ValueError, match="invalid literal"):
        await AsyncRuntime(Gates(), workers).stored(fails)

    async def suspends(_rt):
        await asyncio.sleep(0)

    with pytest.raises(RuntimeError, match="may only await its runtime"):
        await AsyncRuntime(Gates(), workers).stored(suspends)


def test_exclusive_serialises_threads_and_tasks_together(workers):
    gates = Gates()
    inside = 0
    most = 0
    order = []

    async def critical(rt, n):
        nonlocal inside, most
        async with rt.exclusive("owner"):
            inside += 1
            most = max(most, inside)
            await rt.sleep(0.002)
            order.append(n)
            inside -= 1

    def threads():
        for n in range(10):
            drive(critical(BlockingRuntime(gates, workers), n))

    async def tasks():
        await asyncio.gather(*(critical(AsyncRuntime(gates, workers), 100 + n) for n in range(50)))

    running = [threading.Thread(target=threads) for _ in range(3)]
    running.append(threading.Thread(target=lambda: asyncio.run(tasks())))
    for thread in running:
        thread.start()
    for thread in running:
        thread.join(60)
    assert most == 1
    assert len(order) == 80


async def test_other_keys_do_not_wait(workers):
    rt = AsyncRuntime(Gates(), workers)
    async with rt.exclusive("a"), rt.exclusive("b"):
        pass


async def test_a_cancelled_waiter_gives_its_place_up(workers):
    rt = AsyncRuntime(Gates(), workers)
    entered = []

    async def wait_in_line(n):
        async with rt.exclusive("owner"):
            entered.append(n)

    async with rt.exclusive("owner"):
        first = asyncio.create_task(wait_in_line(1))
        second = asyncio.create_task(wait_in_line(2))
        await asyncio.sleep(0)
        first.cancel()
        with pytest.raises(asyncio.CancelledError):
            await first
    await asyncio.wait_for(second, 10)
    assert entered == [2]


async def test_a_waiter_cancelled_at_the_moment_of_its_turn_passes_it_on(workers):
    rt = AsyncRuntime(Gates(), workers)
    entered = []

    async def wait_in_line(n):
        async with rt.exclusive("owner"):
            entered.append(n)

    async with rt.exclusive("owner"):
        first = asyncio.create_task(wait_in_line(1))
        second = asyncio.create_task(wait_in_line(2))
        await asyncio.sleep(0)
    first.cancel()  # its turn was announced, and it has not run since
    await asyncio.wait_for(second, 10)
    assert entered[-1] == 2


async def test_a_cancelled_storage_call_has_ended_when_its_caller_hears_of_it(workers):
    rt = AsyncRuntime(Gates(), workers)
    began, release = threading.Event(), threading.Event()
    written = []

    def write():
        began.set()
        release.wait(30)
        written.append(1)
        raise ValueError("nobody is there to hear it")

    caller = asyncio.create_task(rt.call(write))
    await asyncio.to_thread(began.wait, 30)
    caller.cancel()
    asyncio.get_running_loop().call_later(0.05, release.set)
    with pytest.raises(asyncio.CancelledError):
        await caller
    assert written == [1]


async def test_a_storage_call_that_waits_for_a_thread_is_not_begun_once_it_is_cancelled(workers):
    rt = AsyncRuntime(Gates(), workers)
    release = threading.Event()
    written = []
    busy = [asyncio.create_task(rt.call(lambda: release.wait(30))) for _ in range(3)]
    caller = asyncio.create_task(rt.call(lambda: written.append(1)))
    await asyncio.sleep(0)
    caller.cancel()
    with pytest.raises(asyncio.CancelledError):
        await caller
    release.set()
    assert await asyncio.gather(*busy) == [True] * 3
    assert not written


async def test_a_second_cancellation_waits_for_nothing(workers):
    rt = AsyncRuntime(Gates(), workers)
    began, release = threading.Event(), threading.Event()

    def write():
        began.set()
        return release.wait(30)

    caller = asyncio.create_task(rt.call(write))
    await asyncio.to_thread(began.wait, 30)
    caller.cancel()
    await asyncio.sleep(0.01)
    assert not caller.done()
    caller.cancel()
    with pytest.raises(asyncio.CancelledError):
        await caller
    assert not release.is_set()
    release.set()


def test_a_closed_loop_does_not_keep_its_turn(workers):
    gates = Gates()
    rt = BlockingRuntime(gates, workers)
    held = threading.Event()
    release = threading.Event()

    async def hold():
        async with rt.exclusive("owner"):
            held.set()
            release.wait(30)

    holder = threading.Thread(target=lambda: drive(hold()))
    holder.start()
    held.wait(30)

    async def waiter():
        async with AsyncRuntime(gates, workers).exclusive("owner"):
            raise AssertionError("its loop is closed")

    loop = asyncio.new_event_loop()
    pending = loop.create_task(waiter())
    loop.run_until_complete(asyncio.sleep(0.01))
    loop.close()
    release.set()
    holder.join(30)
    entered = threading.Event()

    async def enter():
        async with rt.exclusive("owner"):
            entered.set()

    late = threading.Thread(target=lambda: drive(enter()), daemon=True)
    late.start()
    assert entered.wait(30)
    pending._log_destroy_pending = False  # the task is left behind on purpose
    pending.get_coro().close()


async def test_a_sync_call_that_would_block_its_own_loop_says_so(workers):
    gates = Gates()

    async def enter(rt):
        async with rt.exclusive("owner"):
            return "entered"

    async with AsyncRuntime(gates, workers).exclusive("owner"):
        with pytest.raises(UsageError, match="use the async face"):
            drive(enter(BlockingRuntime(gates, workers)))
    assert drive(enter(BlockingRuntime(gates, workers))) == "entered"


def test_a_forked_child_has_gates_and_workers_of_its_own(blocking):
    async def work():
        return await blocking.gather(blocking.call(os.getpid), blocking.call(os.getpid))

    async def hold_and_fork():
        async with blocking.exclusive("owner"):  # held by the parent: no business of the child's
            return os.fork()

    drive(work())
    child = drive(hold_and_fork())
    if child == 0:

        async def in_child():
            async with blocking.exclusive("owner"):
                return await work()

        os._exit(0 if drive(in_child()) == [os.getpid()] * 2 else 1)
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            assert status == 0
            return
        time.sleep(0.01)
    os.kill(child, 9)
    os.waitpid(child, 0)
    pytest.fail("the child hangs")
