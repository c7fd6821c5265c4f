"""The ASGI application: which path does what, one request from headers to answer, and a line about it in the log.

Rerank paths count by their suffix, because SDKs append `v1/rerank` to whatever base URL they are given. It ranks
nothing itself; see `ask`, `worker` and `answer`.
"""

from __future__ import annotations

import asyncio
import re
import time
import uuid
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from rerank_cli import pipeline
from rerank_cli.errors import ModelError
from rerank_cli.scorers.base import TooLongError
from rerank_cli.server import admission, http_errors
from rerank_cli.server.answer import build_response, dump
from rerank_cli.server.ask import parse
from rerank_cli.server.call import Call, Reply
from rerank_cli.server.http_errors import HttpError, retry_later
from rerank_cli.server.pages import PAGES
from rerank_cli.server.worker import Job

if TYPE_CHECKING:
    from starlette.requests import Request

    from rerank_cli.scorers.base import ScorerInfo
    from rerank_cli.server.ask import RerankRequest, Route
    from rerank_cli.server.log import Log
    from rerank_cli.server.metrics import Metrics
    from rerank_cli.server.settings import ServeSettings
    from rerank_cli.server.worker import Worker

LARGE = 256 << 10  # bytes of a body that is parsed and answered off the event loop
REQUEST_ID = re.compile(r"[\w.:-]{1,128}", re.ASCII)
SLASHES = re.compile("//+")  # SDKs join a base URL that ends with one
CLIENT_GONE = 499  # nginx's number, in the log only


class App:
    """ASGI. Holds what all requests share; `ready` is said by the worker being alive and nothing draining."""

    def __init__(self, settings: ServeSettings, worker: Worker, info: ScorerInfo, metrics: Metrics, log: Log) -> None:
        self.settings = settings
        self.worker = worker
        self.info = info
        self.metrics = metrics
        self.log = log
        self.gate = admission.AdmissionControl(settings, worker.seconds_waiting)
        metrics.watch(lambda: self.gate.inside, lambda: worker.waiting)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """One request. Whatever happens, the client gets an answer in JSON without a traceback, or nothing if gone."""
        if scope["type"] != "http":
            return
        from starlette.requests import Request
        from starlette.responses import Response

        request = Request(scope, receive)
        call = begin(request)
        try:
            reply = await self.answer(request, call)
        except admission.ClientDisconnected:
            call.status = CLIENT_GONE
        else:
            call.status = reply.status
            # Said while stopping, or a client would send its next request into a connection that is about to close.
            last = {"connection": "close"} if self.gate.draining else {}
            response = Response(reply.body, reply.status, {"x-request-id": call.id, **reply.headers, **last})
            await response(scope, receive, send)
        self.metrics.answered(call.route, call.status, time.perf_counter() - call.start)
        self.log.access(call)

    async def answer(self, request: Request, call: Call) -> Reply:
        """The reply, be it a refusal. Raises ClientDisconnected only."""
        try:
            async with asyncio.timeout(self.settings.timeout_s):
                return await self.dispatch(request, call)
        except HttpError as fault:
            if fault.headers.get("connection") == "close":
                await admission.discard(request)
            return refusal(fault, call)
        except TimeoutError:
            late = HttpError(504, f"no answer within {self.settings.timeout_s:g} seconds")
            late.tei = call.route == "tei"
            return refusal(late, call)
        except (admission.ClientDisconnected, asyncio.CancelledError):
            raise
        except Exception as error:  # noqa: BLE001 the last resort; the log has the rest
            self.log.internal(call, error)
            return refusal(HttpError(500, http_errors.INTERNAL.format(id=call.id)), call)

    async def dispatch(self, request: Request, call: Call) -> Reply:
        """By path and method. Raises HttpError 404 or 405."""
        route = route_of(call.path)
        if route is not None:
            call.route = route
            refuse_method(call.method, "POST")
            return await self.rerank(request, call, route)
        page = PAGES.get(call.path) or PAGES.get("/v1/models" if call.path.endswith("/models") else "")
        if page is None:
            raise HttpError(404, http_errors.NO_PAGE)
        call.route = "page"
        refuse_method(call.method, "GET", "HEAD")
        if page.guarded:
            admission.check_key(request.headers, self.settings.keys)
        return page.make(self, request)

    async def rerank(self, request: Request, call: Call, route: Route) -> Reply:
        """One rerank request, from its headers to its reply."""
        settings = self.settings
        self.gate.refuse_if_draining()
        admission.check_key(request.headers, settings.keys)
        admission.check_type(request.headers)
        size = admission.announced_size(request.headers, settings)
        with self.gate.admit(size) as settle:
            body = await admission.read_body(request, settings)
            settle(len(body))
            large = len(body) > LARGE
            ask = await asyncio.to_thread(parse, body, route, settings) if large else parse(body, route, settings)
            del body
            call.documents = len(ask.documents)
            call.route = "tei" if ask.tei else route
            try:
                return await self.ranked(request, call, ask, large=large)
            except HttpError as fault:
                fault.tei = ask.tei
                raise

    async def ranked(self, request: Request, call: Call, ask: RerankRequest, *, large: bool) -> Reply:
        """The reply of a request that was understood."""
        notes = self.note_model(ask)
        job = await self.score(request, ask)
        call.queued, call.scored = job.started - job.submitted, job.finished - job.started
        try:
            arguments = (ask, job, call.id, self.info, notes)
            answer = await asyncio.to_thread(build_response, *arguments) if large else build_response(*arguments)
        except TooLongError as error:
            index = pipeline.document_of(error.pair, ask.documents).index
            raise HttpError(422, f"document at index {index}: {error.message}") from None
        except ModelError as error:
            self.log.failed(call, error)
            raise retry_later(503, "the model failed to score this request", 1.0) from None
        tokens = sum(score.tokens for score in job.scores if score)
        self.metrics.ranked(len(ask.documents), tokens, call.queued)
        body, warnings = answer
        return Reply(200, body, reply_headers(ask, job, call, warnings))

    def note_model(self, ask: RerankRequest) -> list[str]:
        """What the reply says if another model was asked for. Raises HttpError 404 if strict."""
        own = {self.info.model, *self.settings.names}
        if not ask.model or ask.model in own:
            return []
        if self.settings.strict:
            raise HttpError(404, http_errors.UNKNOWN_MODEL.format(model=ask.model[:200]))
        return [f"model `{ask.model[:200]}` is served by `{self.info.model}`"]

    async def score(self, request: Request, ask: RerankRequest) -> Job:
        """The finished job; given up if the client hangs up, which raises ClientDisconnected, or if time is over."""
        loop = asyncio.get_running_loop()
        finished = asyncio.Event()

        def done() -> None:
            with suppress(RuntimeError):  # the loop is closed: nobody waits any more
                loop.call_soon_threadsafe(finished.set)

        pairs, places = pipeline.unique_pairs(ask.query, ask.documents)
        job = Job(pairs, range(len(pairs)) if places is None else places, ask.limits, done)
        try:
            self.worker.submit(job)
        except ModelError:
            raise retry_later(503, "the server is not ready to score", 1.0) from None
        waits = [asyncio.ensure_future(finished.wait()), asyncio.ensure_future(admission.wait_until_gone(request))]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()
            if not finished.is_set():
                self.worker.cancel(job)
        if not finished.is_set():
            raise admission.ClientDisconnected
        return job


def begin(request: Request) -> Call:
    """What is known of a request from its head; a client's own id is kept if it is harmless."""
    given = request.headers.get("x-request-id", "")
    client = request.client.host if request.client else "-"
    name = given if REQUEST_ID.fullmatch(given) else str(uuid.uuid4())
    return Call(name, request.method, request.scope["path"], client)


def route_of(path: str) -> Route | None:
    """Which API a path asks for, by its last parts; None if it is no rerank path."""
    path = SLASHES.sub("/", path).rstrip("/")
    if path.endswith("/v2/rerank"):
        return "v2"
    if path.endswith("/v1/rerank"):
        return "v1"
    return "rerank" if path.endswith(("/rerank", "/reranking", "/reranks")) else None


def refuse_method(method: str, *allowed: str) -> None:
    """Raises HttpError 405 naming the methods that are allowed."""
    if method not in allowed:
        raise HttpError(405, f"method {method[:20]} is not allowed", headers={"allow": ", ".join(allowed)})


def refusal(fault: HttpError, call: Call) -> Reply:
    """A fault as a reply."""
    return Reply(fault.status, dump(fault.body(call.id)), {"content-type": "application/json", **fault.headers})


def reply_headers(ask: RerankRequest, job: Job, call: Call, warnings: tuple[str, ...]) -> dict[str, str]:
    """TEI's clients find counts and times in headers; its bare array has no other place for warnings either."""
    headers = {"content-type": "application/json"}
    if ask.tei:
        tokens = sum(score.tokens + job.query_tokens * score.windows for score in job.scores if score)
        headers |= {
            "x-compute-type": "cpu",
            "x-compute-tokens": str(tokens),
            "x-compute-characters": str(sum(map(len, ask.values))),
            "x-queue-time": str(round(call.queued * 1000)),
            "x-inference-time": str(round(call.scored * 1000)),
            "x-total-time": str(round((time.perf_counter() - call.start) * 1000)),
        }
        if warnings:
            headers["x-rerank-warnings"] = dump(warnings).decode().encode("ascii", "replace").decode()
    return headers
