"""An event loop on virtual time: when nothing is ready, the clock jumps to the next timer.

Ready callbacks run in the order they were called, timers of one instant in the order they were set, executors inline. A
callback whose context belongs to a dead node (`NODE`) is dropped: a kill runs no `finally`.
"""

from __future__ import annotations

import asyncio
import asyncio.base_events
import contextvars
import gc
import heapq
import sys
from collections.abc import Callable, Coroutine
from typing import Any

NODE: contextvars.ContextVar[str] = contextvars.ContextVar("node", default="world")
"""Which simulated machine a callback belongs to."""

MAX_CALLBACKS_AT_ONE_INSTANT = 200_000
"""Beyond this, time does not move any more: a livelock."""


MOST_WAITS_IN_FINALLY = 20


class DeadlockError(RuntimeError):
    """Nothing is ready and no timer is set: nothing can ever happen again."""


class LivelockError(RuntimeError):
    """Callbacks without end at one instant."""


class SimTask(asyncio.Task[Any]):
    """A task whose hash is its number: sets of tasks iterate the same way in every run."""

    def __init__(self, coro: Coroutine[Any, Any, Any], *, loop: SimLoop, **kwargs: Any) -> None:
        loop.tasks_made += 1
        self._number = loop.tasks_made
        self.node = (kwargs.get("context") or contextvars.copy_context()).get(NODE, "world")
        super().__init__(coro, loop=loop, **kwargs)

    def __hash__(self) -> int:
        return self._number


GARBAGE = 10_000
"""So many objects more than have gone: only then the collector looks for cycles. Nearly all go without it."""


def spare_the_collector() -> None:
    """What is there before a run lives as long as it does: the collector never looks at it again."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(GARBAGE, 20, 20)


class SimLoop(asyncio.base_events.BaseEventLoop):
    """Virtual time, in seconds since the start of the simulation."""

    def __init__(self) -> None:
        super().__init__()
        self._now = 0.0
        self._number = 0
        self._heap: list[tuple[float, int, asyncio.TimerHandle]] = []
        self._clock_resolution = 1e-9
        self._at_this_instant = 0
        self.tasks_made = 0
        self.dead: set[str] = set()
        self._countdown: tuple[str, int, Callable[[], None]] | None = None
        self.network: Any = None
        self.sockets: dict[int, Any] = {}
        self.set_task_factory(lambda loop, coro, **kwargs: SimTask(coro, loop=self, **kwargs))

    # Time

    def time(self) -> float:
        return self._now

    def call_later(self, delay: float, callback: Callable[..., Any], *args: Any, context: Any = None) -> Any:
        return self.call_at(self._now + max(0.0, delay), callback, *args, context=context)

    def call_at(self, when: float, callback: Callable[..., Any], *args: Any, context: Any = None) -> Any:
        handle = asyncio.TimerHandle(when, callback, args, self, context)
        self._number += 1
        heapq.heappush(self._heap, (when, self._number, handle))
        return handle

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        """Cancelled timers are skipped when their time comes."""

    call_soon_threadsafe = asyncio.base_events.BaseEventLoop.call_soon

    # One turn

    def _run_once(self) -> None:
        if not self._ready:
            self._jump()
        ready = self._ready
        for _ in range(len(ready)):
            handle = ready.popleft()
            if handle._cancelled or ((self.dead or self._countdown is not None) and self._passes_away(handle)):
                continue
            handle._run()
        self._at_this_instant += 1
        if self._at_this_instant > MAX_CALLBACKS_AT_ONE_INSTANT:
            raise LivelockError(f"{MAX_CALLBACKS_AT_ONE_INSTANT} turns at {self._now:.6f} s")

    def after_callbacks(self, node: str, count: int, do: Callable[[], None]) -> None:
        """Call `do` just before `node` runs its `count`-th callback from now: between any two steps of its tasks."""
        self._countdown = (node, count, do)

    def disarm(self) -> None:
        """Forget what `after_callbacks` was told."""
        self._countdown = None

    def bury(self, node: str) -> None:
        """Free what a dead machine's tasks hold, or each restart of a long run would keep a whole gateway.

        Their `finally` blocks run here, where nothing of them reaches anybody: the node is dead, so that all it calls
        for later is dropped, its links are cut and its disk is frozen. Not from a callback of the node itself.
        """
        context = contextvars.copy_context()
        context.run(NODE.set, node)
        buried: set[asyncio.Task[Any]] = set()
        told, sys.unraisablehook = sys.unraisablehook, lambda _: None
        made = self.tasks_made
        try:
            while left := [task for task in asyncio.all_tasks(self) - buried if _node_of(task) == node]:
                for task in sorted(left, key=hash):
                    task._log_destroy_pending = False  # type: ignore[attr-defined]
                    context.run(_close, task.get_coro())
                buried.update(left)  # a `finally` may have begun further tasks
            left.clear()
            buried.clear()
            gc.collect()  # what is left of them says that it did not end well: now, where nobody listens
        finally:
            sys.unraisablehook, self.tasks_made = told, made

    def _count(self, handle: asyncio.Handle) -> None:
        assert self._countdown is not None
        node, left, do = self._countdown
        if handle._context.get(NODE, "world") != node:
            return
        self._countdown = (node, left - 1, do) if left > 1 else None
        if left <= 1:
            do()

    def _passes_away(self, handle: asyncio.Handle) -> bool:
        """Whether its machine is dead, or dies at this very callback."""
        if self._countdown is not None and not self._is_dead(handle):
            self._count(handle)
        return self._is_dead(handle)

    def _is_dead(self, handle: asyncio.Handle) -> bool:
        return bool(self.dead) and handle._context.get(NODE, "world") in self.dead

    def _jump(self) -> None:
        heap, pop = self._heap, heapq.heappop
        while heap and heap[0][2]._cancelled:
            pop(heap)
        if self._stopping:
            return
        if not heap:
            raise DeadlockError(f"nothing can happen after {self._now:.6f} s")
        if heap[0][0] > self._now:
            self._now = heap[0][0]
            self._at_this_instant = 0
        now, ready = self._now, self._ready
        while heap and heap[0][0] <= now:
            ready.append(pop(heap)[2])

    def _process_events(self, event_list: Any) -> None:
        """There is no selector."""

    def _write_to_self(self) -> None:
        """There is no other thread."""

    # Executors run inline: the daemon's threads do nothing that the loop's thread could not do.

    def run_in_executor(self, executor: Any, func: Callable[..., Any], *args: Any) -> Any:
        future = self.create_future()
        try:
            result = func(*args)
        except Exception as error:  # noqa: BLE001 - it belongs to whoever awaits
            self.call_soon(_fail, future, error)
        else:
            self.call_soon(_succeed, future, result)
        return future

    def set_default_executor(self, executor: Any) -> None:
        """Nothing runs outside the loop's thread."""

    # Network

    async def create_server(self, protocol_factory: Any, host: Any = None, port: Any = None, **kwargs: Any) -> Any:
        return self.network.listen(protocol_factory, host, port, kwargs.get("ssl"))

    async def create_connection(self, protocol_factory: Any, host: Any = None, port: Any = None, **kwargs: Any) -> Any:
        return await self.network.connect(protocol_factory, host, port)

    def add_reader(self, fd: Any, callback: Callable[..., Any], *args: Any) -> None:
        self._socket(fd).watch_read(callback, args)

    def remove_reader(self, fd: Any) -> bool:
        return bool(self._socket(fd).watch_read(None, ()))

    def add_writer(self, fd: Any, callback: Callable[..., Any], *args: Any) -> None:
        self._socket(fd).watch_write(callback, args)

    def remove_writer(self, fd: Any) -> bool:
        return bool(self._socket(fd).watch_write(None, ()))

    def _socket(self, fd: Any) -> Any:
        return self.sockets[fd if isinstance(fd, int) else fd.fileno()]


def _node_of(task: asyncio.Task[Any]) -> str:
    return task.node if isinstance(task, SimTask) else "world"


def _close(coroutine: Any) -> None:
    """To its end, also where a `finally` waits for something again and again."""
    for _ in range(MOST_WAITS_IN_FINALLY):
        try:
            coroutine.close()
        except RuntimeError:
            continue  # it ignored the end: it waits in a `finally`, which now ends as well
        except (Exception, BaseExceptionGroup, asyncio.CancelledError):  # noqa: BLE001 - nobody is left to be told
            return
        return


def _succeed(future: asyncio.Future[Any], result: Any) -> None:
    if not future.done():
        future.set_result(result)


def _fail(future: asyncio.Future[Any], error: Exception) -> None:
    if not future.done():
        future.set_exception(error)
