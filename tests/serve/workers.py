"""A scoring thread for tests, and jobs for it."""

from __future__ import annotations

import threading

from rerank_cli.records import Pair
from rerank_cli.server.worker import Job, Worker
from rerank_cli.settings import Limits


class PanicException(BaseException):
    """As pyo3 raises it: not an Exception."""


def started(scorer):
    worker = Worker(lambda: scorer, lambda _pairs, _seconds: None)
    worker.start()
    return worker


def submit(worker, texts, limits=Limits()):  # noqa: B008 frozen
    done = threading.Event()
    job = Job([Pair("q", text) for text in texts], range(len(texts)), limits, done.set)
    worker.submit(job)
    return job, done


def values(job):
    return [score.value for score in job.scores]
