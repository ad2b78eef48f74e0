"""The site as it was built: its search finds what people look for, and it loads nothing else.

TINYNN_SITE names the folder of a built site; without one these tests are skipped.
"""

import os
import re
import time
from pathlib import Path

import pytest

SITE = Path(os.environ.get("TINYNN_SITE", ""))
pytestmark = pytest.mark.skipif(
    "TINYNN_SITE" not in os.environ, reason="no built site: set TINYNN_SITE to its folder"
)
FIRST = 3  # results among which the right page is
FOUND = (
    """[...document.querySelectorAll("#search-results li a")].map(a => a.getAttribute("href"))"""
)


@pytest.mark.parametrize(
    ("words", "pages"),
    [
        ("early stopping", "cookbook/early-stopping"),
        ("schedule", "cookbook/schedules"),
        ("own loss", "cookbook/own-loss"),
        ("save", "reference/training.html#tinynn.save|start/training"),
        ("resume", "cookbook/resuming"),
        ("class weights", "cookbook/class-imbalance"),
        ("multichannel", "cookbook/long-recording"),
        ("real data", "lecture/lessons/detect_heartbeats|cookbook/long-recording"),
        ("nan", "cookbook/debugging-a-nan"),
        ("exercise", "course"),
    ],
)
def test_the_search_finds(browser, words, pages):
    browser.open(f"{(SITE / 'search.html').absolute().as_uri()}?q={words.replace(' ', '+')}")
    found = []
    for _ in range(100):  # results come in one after the other
        before, found = found, browser.run(FOUND)
        if found and found == before:
            break
        time.sleep(0.1)
    found = found[:FIRST]
    assert any(re.search(pages, address) for address in found), found


def test_no_page_loads_anything_from_the_network():
    loads = re.compile(r"<(?:script|img|link|iframe|source)\b[^>]*(?:src|href|srcset)=[\"']https?:")
    pages = sorted(SITE.rglob("*.html"))
    assert pages
    bad = [str(page) for page in pages if loads.search(page.read_text(encoding="utf-8"))]
    assert bad == []
