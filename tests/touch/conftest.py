"""The pages to touch in a headless browser; without one these tests are skipped."""

import json
import re
from pathlib import Path

import pytest

from .browser import Browser, find

DOCS = Path(__file__).parents[2] / "docs"
PAGES = {"kernel": "sliding-kernel", "detection": "spikes-in-noise"}


def markup(name):
    """Return the raw HTML of a page's source, with the addresses of files on this machine."""
    text = (DOCS / "touch" / f"{name}.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```\{raw\} html\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
    return "".join(blocks).replace("../_static", (DOCS / "_static").as_uri())


def files(name):
    """Return the scripts and styles that a page loads."""
    return [Path(path) for path in re.findall(r'(?:src|href)="file://([^"]+)"', markup(name))]


@pytest.fixture(scope="session")
def browser(tmp_path_factory):
    """A browser for all tests."""
    path = find()
    if path is None:
        pytest.skip("no Chromium: set TINYNN_CHROMIUM to one, or install the package chromium")
    try:
        one = Browser(path, tmp_path_factory.mktemp("profile"))
    except RuntimeError as error:  # such as a stub that asks for a package
        pytest.skip(f"{path} does not start: {error}")
    yield one
    one.close()


@pytest.fixture
def page(browser, tmp_path):
    """Return a function that opens a page to touch, and asks at the end what went wrong on it."""

    def opened(name, address="", **how):
        file = tmp_path / f"{name}.html"
        head = '<!doctype html><meta charset="utf-8"><body>'
        file.write_text(head + markup(name), encoding="utf-8")
        browser.open(f"{file.as_uri()}#{address}" if address else file.as_uri(), **how)
        return browser

    yield opened
    assert browser.errors == []
    assert [url for url in browser.requests if not url.startswith("file:")] == []


@pytest.fixture
def visit():
    """Return a function that sets a page by one address after the other, and reads it each time.

    Browsers allow some 200 changes of the true address in ten seconds; so the page is told of it.
    """

    def visited(browser, addresses, read):
        return browser.run(f"""(async () => {{
            const read = {read}, results = [];
            for (const text of {json.dumps(list(addresses))}) {{
                Touch.address.read = () => Object.fromEntries(new URLSearchParams(text));
                dispatchEvent(new HashChangeEvent("hashchange"));
                results.push(await read());
            }}
            return results;
        }})()""")

    return visited
