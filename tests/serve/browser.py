"""A real Chromium for tests, in which `*.example` is this machine, and pages of another origin."""

from __future__ import annotations

import http.server
import shutil
import threading
from contextlib import contextmanager

import pytest


class Page(http.server.BaseHTTPRequestHandler):
    """The page of another origin."""

    def do_GET(self):
        self.send_response(200)
        self.send_header("content-type", "text/html")
        self.end_headers()
        self.wfile.write(b"<!doctype html><title>other</title><body></body>")

    def log_message(self, *_args):
        pass


@contextmanager
def chromium():
    playwright = pytest.importorskip("playwright.sync_api")
    path = shutil.which("chromium") or shutil.which("chromium-browser")
    if path is None:
        pytest.skip("needs Chromium")
    with playwright.sync_playwright() as running:
        rules = "--host-resolver-rules=MAP *.example 127.0.0.1"
        browser = running.chromium.launch(executable_path=path, args=["--no-sandbox", rules])
        yield browser
        browser.close()


@contextmanager
def other_pages():
    """The port of a server with pages of another origin."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Page) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_port
        server.shutdown()
