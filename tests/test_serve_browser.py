"""Pages in a real browser: those of other origins get nothing from a default server, allowed ones and its own work.

apt-get install chromium && pip install playwright && pytest -m browser tests/test_serve_browser.py
"""

from __future__ import annotations

import re

import pytest
from serve.browser import chromium, other_pages
from serve.harness import serving

pytestmark = pytest.mark.browser
BODY = '{"query": "q", "documents": ["1 a", "2 b"]}'
# What a page can send without the server's consent, and what needs it (a preflight).
ATTACKS = {
    "text": "() => fetch(URL, {method: 'POST', mode: 'no-cors', body: BODY})",
    "blob": "() => fetch(URL, {method: 'POST', mode: 'no-cors', body: new Blob([BODY])})",
    "typed array": "() => fetch(URL, {method: 'POST', mode: 'no-cors', body: new TextEncoder().encode(BODY)})",
    "array buffer": "() => fetch(URL, {method: 'POST', mode: 'no-cors', body: new TextEncoder().encode(BODY).buffer})",
    "form data": "() => fetch(URL, {method: 'POST', mode: 'no-cors', body: new URLSearchParams({query: 'q'})})",
    "json": "() => fetch(URL, {method: 'POST', headers: {'content-type': 'application/json'}, body: BODY})",
    "blob with cors": "() => fetch(URL, {method: 'POST', body: new Blob([BODY])})",
    "beacon": "async () => { navigator.sendBeacon(URL, new Blob([BODY])); await new Promise(r => setTimeout(r, 300)) }",
    "request of a worker": """() => new Promise(done => {
        const code = `fetch('${URL}', {method: 'POST', mode: 'no-cors', body: new Blob(['${BODY}'])})
            .then(() => postMessage(1), () => postMessage(1))`
        new Worker(window.URL.createObjectURL(new Blob([code]))).onmessage = () => done()
    })""",
    "script": """() => new Promise(done => {
        const script = document.createElement('script')
        script.src = BASE + '/v1/models'
        script.onload = script.onerror = () => done()
        document.body.append(script)
    })""",
    "frame": """() => new Promise(done => {
        const frame = document.createElement('iframe')
        frame.src = BASE + '/docs'
        frame.onload = () => done()
        document.body.append(frame)
    })""",
    "get": "() => fetch(BASE + '/v1/models', {mode: 'no-cors'})",
    "form": """() => new Promise(done => {
        const form = document.createElement('form')
        const input = document.createElement('input')
        Object.assign(form, {method: 'POST', action: URL, enctype: 'text/plain', target: 'frame'})
        Object.assign(input, {name: BODY.slice(0, -1) + ', "x": "', value: '"}'})
        const frame = document.createElement('iframe')
        frame.name = 'frame'
        document.body.append(frame, form)
        form.append(input)
        frame.onload = () => done()
        form.submit()
    })""",
}


@pytest.fixture(scope="module")
def browser():
    with chromium() as running:
        yield running


@pytest.fixture(scope="module")
def other():
    with other_pages() as port:
        yield port


def run(page, script, base):
    """What a script returns, or None if the browser or the server refuses."""
    page.evaluate(f"() => {{ window.BASE = {base!r}; window.URL_ = {base + '/v2/rerank'!r}; window.BODY = {BODY!r} }}")
    script = re.sub(r"\bURL\b(?!\.)", "URL_", script)
    try:
        return page.evaluate(script)
    except Exception as error:
        if "Failed to fetch" in str(error):
            return None
        raise


def statuses(server):
    return set(re.findall(r"status=(\d+)", server.stderr.getvalue()))


@pytest.mark.parametrize("attack", ATTACKS)
@pytest.mark.parametrize("host", ["evil.example", "localhost", "127.0.0.1"])
def test_a_page_of_another_origin_gets_nothing(browser, other, host, attack):
    with serving() as server:
        page = browser.new_page()
        page.goto(f"http://{host}:{other}/")
        run(page, ATTACKS[attack], server.url)
        page.close()
        assert statuses(server) <= {"403"}
        assert b'rerank_documents_total{model="free"} 0.0' in server.get("/metrics").body


@pytest.mark.parametrize("attack", ATTACKS)
def test_a_sandboxed_page_gets_nothing(browser, attack):
    with serving() as server:
        page = browser.new_page()
        page.goto("data:text/html,<!doctype html><body></body>")
        run(page, ATTACKS[attack], server.url)
        page.close()
        assert statuses(server) <= {"403"}


def test_a_name_that_was_pointed_at_this_machine_gets_nothing(browser):
    """DNS rebinding: to the browser the page is of the same origin."""
    with serving() as server:
        page = browser.new_page()
        base = f"http://rebound.example:{server.port}"
        reply = page.goto(base + "/docs")
        assert reply.status == 403
        script = "() => fetch(URL, {method: 'POST', headers: {'content-type': 'application/json'}, body: BODY}).then(r => r.status)"
        assert run(page, script, base) == 403
        page.close()


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "rerank.localhost"])
def test_pages_of_the_server_itself_work(browser, host):
    with serving() as server:
        page = browser.new_page()
        base = f"http://{host}:{server.port}"
        assert page.goto(base + "/docs").status == 200
        assert "v2/rerank" in page.content()
        assert page.goto(base + "/health").status == 200
        script = """() => fetch(URL, {method: 'POST', headers: {'content-type': 'application/json'}, body: BODY})
            .then(r => r.json()).then(found => found.results.map(each => each.index))"""
        assert run(page, script, base) == [1, 0]
        page.close()


def test_a_link_on_another_page_leads_to_the_docs(browser, other):
    with serving() as server:
        page = browser.new_page()
        page.goto(f"http://evil.example:{other}/")
        with page.expect_navigation():
            page.evaluate(f"() => {{ location.href = {server.url + '/docs'!r} }}")
        assert "v2/rerank" in page.content()
        page.close()


READ = """() => fetch(URL, {method: 'POST', headers: {'content-type': 'application/json', authorization: 'Bearer key-1'},
    body: BODY}).then(async r => [r.status, (await r.json()).results?.map(each => each.index), r.headers.get('x-request-id')])"""


@pytest.mark.parametrize("keys", [(), ("key-1",)])
def test_a_page_of_an_allowed_origin_ranks_and_reads_headers_and_refusals(browser, other, keys):
    with serving(cors_origins=(f"http://app.example:{other}",), keys=keys) as server:
        page = browser.new_page()
        page.goto(f"http://app.example:{other}/")
        status, order, request_id = run(page, READ, server.url)
        assert (status, order) == (200, [1, 0])
        assert f"id={request_id}" in server.stderr.getvalue()
        status, order, request_id = run(page, READ.replace("BODY", "'{}'"), server.url)
        assert (status, order) == (400, None)
        assert request_id
        page.close()


@pytest.mark.parametrize("attack", ATTACKS)
def test_a_page_of_yet_another_origin_gets_nothing(browser, other, attack):
    with serving(cors_origins=(f"http://app.example:{other}",)) as server:
        page = browser.new_page()
        page.goto(f"http://evil.example:{other}/")
        run(page, ATTACKS[attack], server.url)
        assert run(page, READ, server.url) is None
        page.close()
        assert b'rerank_documents_total{model="free"} 0.0' in server.get("/metrics").body


def test_any_origin_may_use_a_server_with_keys_if_it_has_one(browser, other):
    with serving(cors_origins=("*",), keys=("key-1",)) as server:
        page = browser.new_page()
        page.goto(f"http://whoever.example:{other}/")
        assert run(page, READ, server.url)[:2] == [200, [1, 0]]
        assert run(page, READ.replace("key-1", "key-2"), server.url)[0] == 401
        page.close()


def test_without_cors_a_page_cannot_even_send_its_key(browser, other):
    with serving(keys=("key-1",)) as server:
        page = browser.new_page()
        page.goto(f"http://evil.example:{other}/")
        assert run(page, READ, server.url) is None
        page.close()
        assert b'rerank_documents_total{model="free"} 0.0' in server.get("/metrics", authorization="Bearer key-1").body
