"""The ASGI application: which path does what, one request from headers to response, and its line in the log.

It ranks nothing itself; see `adapters`, `rerank_request`, `worker` and `response`.
"""

from __future__ import annotations

import asyncio
import re
import time
import uuid
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from rerank_cli import scoring
from rerank_cli.errors import ModelError, RemoteError, UsageError
from rerank_cli.request import as_members
from rerank_cli.scorers.base import DocumentError
from rerank_cli.server import admission, http_errors, provider_errors
from rerank_cli.server.adapters import JINA, adapter_of_body, adapter_of_path, plain_path
from rerank_cli.server.body_limits import check_counts
from rerank_cli.server.http_errors import HttpError, retry_later
from rerank_cli.server.jobs import Job, make_job
from rerank_cli.server.json_body import dump, load
from rerank_cli.server.models import Attempt
from rerank_cli.server.pages import GUARDED, is_model, page_of_path
from rerank_cli.server.records import Call
from rerank_cli.server.rerank_request import read_request
from rerank_cli.server.response import build_response, check_stages, rank_scores, settings_of
from rerank_cli.server.web_pages import RESPONSE_HEADERS, refuse_foreign_page
from rerank_cli.text import shown

if TYPE_CHECKING:
    from collections.abc import Callable

    from rerank_cli.errors import RerankError
    from rerank_cli.records import Failure, Ranking
    from rerank_cli.scorers.base import ScorerInfo
    from rerank_cli.server.log import Log
    from rerank_cli.server.metrics import Metrics
    from rerank_cli.server.models import Models, ServedModel
    from rerank_cli.server.records import Adapter, RerankRequest
    from rerank_cli.server.settings import ServeSettings

LARGE = 256 << 10  # bytes of a body that is read and answered outside the event loop
REQUEST_ID = re.compile(r"[\w.:-]{1,128}", re.ASCII)
CLIENT_GONE = 499  # nginx's number, in the log only


class App:
    """ASGI. Holds what all requests share."""

    def __init__(self, settings: ServeSettings, models: Models, metrics: Metrics, log: Log) -> None:
        self.metrics = metrics
        self.log = log
        self.admission = admission.AdmissionControl(settings, lambda: self.models.seconds_waiting)
        metrics.watch(lambda: self.admission.active, lambda: self.models.waiting)
        self.configure(settings, models)

    def configure(self, settings: ServeSettings, models: Models) -> None:
        """Take these for all requests from now on. Call it in the event loop's thread."""
        self.settings = self.admission.settings = settings
        self.models = models
        self.metrics.declare(model.info.model for model in models.served)

    @property
    def info(self) -> ScorerInfo:
        """The first model's description."""
        return self.models.first.info

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """One request. Whatever happens, the client gets a JSON response without a traceback, or nothing if gone."""
        if scope["type"] != "http":
            return
        request = Request(scope, receive)
        call = begin(request)
        try:
            response = await self.respond(request, call)
        except ClientDisconnect:
            call.status = CLIENT_GONE
        else:
            call.status = response.status_code
            response.headers.update({"x-request-id": call.id, **RESPONSE_HEADERS})
            # Else a client would send its next request into a connection that closes.
            if self.admission.draining or admission.has_two_lengths(request.headers):
                response.headers["connection"] = "close"
            await response(scope, receive, send)
        self.metrics.responded(call, time.perf_counter() - call.start)
        self.log.access(call)

    async def respond(self, request: Request, call: Call) -> Response:
        """The response, which may be a refusal. Raises ClientDisconnect only."""
        try:
            async with asyncio.timeout(self.settings.timeout_s):
                return await self.dispatch(request, call)
        except HttpError as error:
            if error.headers.get("connection") == "close":
                await admission.discard(request)
            return refusal(error, call)
        except TimeoutError:
            return refusal(HttpError(504, f"no answer within {self.settings.timeout_s:g} seconds"), call)
        except (ClientDisconnect, asyncio.CancelledError, KeyboardInterrupt, SystemExit):
            raise
        except BaseException as error:  # noqa: BLE001 the last resort, also for panics of extensions; the log has the rest
            self.log.internal(call, error)
            return refusal(HttpError(500, http_errors.INTERNAL.format(id=call.id)), call)

    async def dispatch(self, request: Request, call: Call) -> Response:
        """By path and method. Raises HttpError 403, 404 or 405."""
        refuse_foreign_page(request.headers, self.settings)
        if call.adapter is not None:
            call.route = call.adapter.name
            refuse_method(call.method, "POST")
            return await self.rerank(request, call, call.adapter)
        page = page_of_path(call.path)
        call.route = "page"
        refuse_method(call.method, "GET", "HEAD")
        if page in GUARDED:
            await self.admission.check_key(request.headers)
        return page(self, request)

    async def rerank(self, request: Request, call: Call, of_path: Adapter) -> Response:
        """One rerank request, from its headers to its response."""
        settings = self.settings
        self.admission.refuse_if_draining()
        await self.admission.check_key(request.headers)
        admission.check_type(request.headers)
        size = admission.announced_size(request.headers, settings)
        with self.admission.admit(size) as settle:
            body = await admission.read_body(request, settings)
            settle(len(body))
            large = len(body) > LARGE
            members = await in_thread_if(large, read_members, body, settings)
            del body
            call.adapter = adapter_of_body(members, request.headers, of_path, strict=settings.strict)
            call.route = call.adapter.name
            rerank_request = await in_thread_if(large, read_request, members, call.adapter, settings)
            call.documents = len(rerank_request.documents)
            return await self.rank(request, call, rerank_request, large=large)

    async def rank(self, request: Request, call: Call, rerank_request: RerankRequest, *, large: bool) -> Response:
        """The response to a request that was understood."""
        model, notes = self.choose_model(rerank_request.options.model)
        failed: list[Failure] = []
        for following in (*self.models.after(model), None):
            attempt = Attempt(model, notes, tuple(failed))
            try:
                return await self.answer(request, call, rerank_request, attempt, large=large)
            except (DocumentError, ModelError, RemoteError, UsageError) as error:
                refused = self.refused(error, call, model, rerank_request)
                if following is None or not isinstance(error, ModelError | RemoteError):
                    raise refused from None
            except HttpError as error:  # scores that are not numbers, a worker that has stopped
                refused = error
                if following is None or error.status < 500:
                    raise
            failed.append({"model": model.info.model, "cause": refused.message})
            notes = [*notes, f"`{model.info.model}` is unusable, `{following.info.model}` takes its place"]
            model = following
        raise AssertionError("the last model answers or is refused")  # pragma: no cover

    async def answer(
        self, request: Request, call: Call, rerank_request: RerankRequest, attempt: Attempt, *, large: bool
    ) -> Response:
        """The response by one model. Raises what scoring raises."""
        model = attempt.model
        call.model = model.info.model
        check_stages(rerank_request, model.info)
        with model.in_use():
            job = await self.score(request, partial(make_job, rerank_request), model, large=large)
            call.queued, call.scored = job.started - job.submitted, job.finished - job.started
            ranking = await in_thread_if(large, rank_scores, rerank_request, job, model.info)
            ranking, further = await self.highlight(request, rerank_request, ranking, model)
        ranking = replace(ranking, meta=replace(ranking.meta, fallback=attempt.failed))
        jobs = (job, *further)
        body, result = await in_thread_if(
            large, build_response, rerank_request, jobs, ranking, call.id, model.info, attempt.notes
        )
        self.metrics.ranked(call, job)
        headers = rerank_request.adapter.headers(result, call) if rerank_request.adapter.headers else None
        return Response(body, headers=headers, media_type="application/json")

    def refused(self, error: RerankError, call: Call, model: ServedModel, rerank_request: RerankRequest) -> HttpError:
        """The refusal of a request that a model or a stage cannot answer; failures of models are logged."""
        if isinstance(error, DocumentError):
            index = scoring.document_of(error.pair, rerank_request.documents).index
            return HttpError(422, f"document at index {index}: {error.message}")
        if isinstance(error, ModelError):
            self.log.failed(call, error)
            return retry_later(503, "the model failed to score this request", 1.0)
        if model.info.backend != "remote":
            return HttpError(422, as_members(error.message))
        refused = provider_errors.http_error(error, call.model)
        self.metrics.failed(call.model, provider_errors.status_of(error))
        self.log.provider(call, error, refused.status)
        return refused

    def choose_model(self, name: str | None) -> tuple[ServedModel, list[str]]:
        """The model of that name, else the first, and what the response says of it. Raises HttpError 404 if strict."""
        first = self.models.first
        if not name or name in self.models.by_name:
            return self.models.by_name.get(name or "", first), []
        if self.settings.strict:
            raise HttpError(404, http_errors.UNKNOWN_MODEL.format(model=shown(name, 200)))
        return first, [f"model `{shown(name, 200)}` is served by `{first.info.model}`"]

    async def highlight(
        self, request: Request, rerank_request: RerankRequest, ranking: Ranking, model: ServedModel
    ) -> tuple[Ranking, list[Job]]:
        """The ranking with its best sentences and the job that scored them, which takes its turn like any other.

        Raises what `score` and the scorer raise.
        """
        settings = settings_of(rerank_request)
        if not settings.stages.highlight and model.info.backend != "remote":
            return ranking, []
        from rerank_cli import highlighting

        candidates = await asyncio.to_thread(highlighting.candidates_of, ranking, settings, model.info)
        jobs = []
        if candidates.pairs:
            make = partial(Job, candidates.pairs, range(len(candidates.pairs)), rerank_request.limits)
            jobs = [await self.score(request, make, model, large=True)]
            if jobs[0].error is not None:
                raise jobs[0].error
        scores = [score for job in jobs for score in job.scores if score is not None]
        return highlighting.attach(ranking, candidates, scores, model.info, settings), jobs

    async def score(
        self, request: Request, make: Callable[[Callable[[], None], int], Job], model: ServedModel, *, large: bool
    ) -> Job:
        """The finished job; given up if the client hangs up, which raises ClientDisconnect, or if time is over."""
        loop = asyncio.get_running_loop()
        finished = asyncio.Event()

        def done() -> None:
            with suppress(RuntimeError):  # the loop is closed: nobody waits any more
                loop.call_soon_threadsafe(finished.set)

        worker = model.worker
        job: Job = await in_thread_if(large, make, done, worker.window)
        try:
            worker.submit(job)
        except ModelError:
            raise retry_later(503, "the server is not ready to score", 1.0) from None
        waits = [asyncio.ensure_future(finished.wait()), asyncio.ensure_future(admission.wait_until_gone(request))]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()
            if not finished.is_set():
                worker.cancel(job)
        if not finished.is_set():
            raise ClientDisconnect
        return job


def read_members(body: bytearray, settings: ServeSettings) -> dict[str, Any]:
    """The members of a body that does not hold too many values. Raises HttpError."""
    check_counts(body, settings)
    return load(body)


async def in_thread_if(large: bool, function: Callable[..., Any], *args: Any) -> Any:
    """What the function returns; called in a thread if it would block the event loop."""
    return await asyncio.to_thread(function, *args) if large else function(*args)


def begin(request: Request) -> Call:
    """What is known of a request from its head; a client's own id is kept if it is harmless."""
    sent = request.headers.get("x-request-id", "")
    client = request.client.host if request.client else "-"
    path = plain_path(request.scope["path"])
    request_id = sent if REQUEST_ID.fullmatch(sent) else str(uuid.uuid4())
    adapter = None if request.method in {"GET", "HEAD"} and is_model(path) else adapter_of_path(path)
    return Call(request_id, request.method, path, client, adapter)


def refuse_method(method: str, *allowed: str) -> None:
    """Raises HttpError 405 naming the methods that are allowed."""
    if method not in allowed:
        raise HttpError(405, f"method {shown(method, 20)} is not allowed", headers={"allow": ", ".join(allowed)})


def refusal(error: HttpError, call: Call) -> Response:
    """An error as a response, as the API of the call words it."""
    body = (call.adapter or JINA).error(error, call.id)
    return Response(dump(body), error.status, error.headers, media_type="application/json")
