"""Who does the jobs of one journal: its thread, or the event loop itself while the disk is quick.

To hand a commit to a thread and to hear of it costs more than the commit: both want Python's lock, and each wakes the other.
So what is brief is done at once where nothing is before it, until once it takes long: then the thread does all for a while,
the longer, the longer it took, so that a slow disk holds the event loop up for a small part of its time. Must not know what
is written.
"""

from __future__ import annotations

import asyncio
import queue
import sqlite3
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

from services.journalfile import JournalError, JournalFile, explained

T = TypeVar("T")

#: Python's threads take turns this often (wall seconds): at its default, 5 ms, a busy event loop would delay each commit.
_TURN_S = 0.0005
#: What took longer (wall seconds) was not quick …
QUICK_S = 0.005
#: … and for so many times as long the thread does all; after what took twice as long, for four times as long, but no longer
#: than this (wall seconds).
APART = 5
MOST_APART_S = 60.0


@dataclass(slots=True)
class Job(Generic[T]):
    """What shall be done, and who is told of it in the event loop; a `brief` one may be done there."""

    work: Callable[[JournalFile], T]
    tell: Callable[[T | None, JournalError | None], None]
    brief: bool = False


class Worker(Protocol):
    """Does the jobs of one journal, one after the other; tests put a slower one here."""

    def start(self) -> None:
        """Be ready for jobs."""

    def do(self, job: Job[Any]) -> None:
        """Put a job behind the others; whoever waits for it may be told before this returns."""

    def end(self) -> None:
        """Close the file once all jobs are done."""

    def join(self, timeout_s: float) -> None:
        """Block until the file is closed, for at most `timeout_s` wall seconds."""


class JournalThread(threading.Thread):
    """Does jobs one after the other on one file; ends with the process, whatever it waits for."""

    def __init__(
        self, file: JournalFile, loop: asyncio.AbstractEventLoop, now_s: Callable[[], float] = time.perf_counter
    ) -> None:
        super().__init__(name=f"journal {file.path.name}", daemon=True)
        self._file = file
        self._loop = loop
        self._now_s = now_s
        self._jobs: queue.SimpleQueue[Job[Any] | None] = queue.SimpleQueue()
        self._untold = 0
        self._apart_until_s = 0.0
        sys.setswitchinterval(min(sys.getswitchinterval(), _TURN_S))

    def do(self, job: Job[Any]) -> None:
        """See `Worker.do`."""
        if job.brief and not self._untold and self._file.is_open and self._now_s() >= self._apart_until_s:
            self._do_here(job)
        else:
            self._put(job)

    def _do_here(self, job: Job[Any]) -> None:
        began_s = self._now_s()
        result, error = attempt(job, self._file, wait=False)
        now_s = self._now_s()
        took_s = now_s - began_s
        if took_s > QUICK_S:
            self._apart_until_s = now_s + min(MOST_APART_S, APART * took_s * took_s / QUICK_S)
        if error is not None and error.reason == "journal-busy":
            self._put(job)  # nothing was written, and whoever has the lock is worth waiting for elsewhere
        else:
            job.tell(result, error)

    def _put(self, job: Job[Any]) -> None:
        self._untold += 1
        self._jobs.put(job)

    def _tell(self, job: Job[Any], result: Any, error: JournalError | None) -> None:
        self._untold -= 1
        job.tell(result, error)

    def end(self) -> None:
        """See `Worker.end`."""
        self._jobs.put(None)

    def run(self) -> None:
        """Until told to end."""
        while (job := self._jobs.get()) is not None:
            result, error = attempt(job, self._file)
            try:
                self._loop.call_soon_threadsafe(self._tell, job, result, error)
            except RuntimeError:  # the event loop is gone, so nobody waits
                break
        self._file.close()


def attempt(job: Job[Any], file: JournalFile, wait: bool = True) -> tuple[Any, JournalError | None]:
    """Does `job` on `file`; its result, or why there is none. Who has it locked is waited for, unless told otherwise."""
    try:
        file.wait_for_others(wait)
        return job.work(file), None
    except JournalError as error:
        return None, error
    except (sqlite3.Error, OSError) as error:
        return None, explained(error, file.path)
