"""The playground in a browser: opened, filled in and sent."""

from __future__ import annotations

from contextlib import contextmanager

LONG = "The lighthouse stands on a rock 😀. " * 60 + "The keeper's password is sardine. " + "Waves break. " * 300


@contextmanager
def opened(browser, url, errors=(), **options):
    """A page whose console stays free of errors, but for those that hold one of `errors`."""
    page = browser.new_page(**options)
    heard = []
    page.on("pageerror", lambda error: heard.append(str(error)))
    page.on("console", lambda message: heard.append(message.text) if message.type in {"error", "warning"} else None)
    page.set_default_timeout(15_000)
    page.goto(url + "/")
    try:
        yield page
        assert [text for text in heard if not any(known in text for known in errors)] == []
    finally:
        page.close()


def rank(page, query=None, documents=None, **fields):
    """Fill in and send; the texts of the results."""
    for name, value in {"query": query, "documents": documents, **fields}.items():
        if name == "format":
            page.select_option("#format", value)
        elif value is not None:
            page.fill(f"#{name}", value)
    page.click("#send")
    page.locator("#status", has_text=" ms, ").or_(page.locator("#error:not(:empty)")).first.wait_for()
    return page.locator("#results li .text").all_inner_texts()
