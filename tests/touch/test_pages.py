"""Both pages to touch: small, alone, as wide as the screen, and their links set what they say."""

import json
import re
from urllib.parse import parse_qsl

import pytest

from .conftest import DOCS, PAGES, files, markup


@pytest.mark.parametrize("name", PAGES)
def test_a_page_is_below_40_kb_with_all_that_it_loads(name):
    loaded = files(name)
    assert len(loaded) == 5
    page = (DOCS / "touch" / f"{name}.md").read_text(encoding="utf-8")
    widget = page.partition("```{raw} html\n")[2].partition("```")[0]
    assert len(widget.encode()) + sum(file.stat().st_size for file in loaded) < 40_000


@pytest.mark.parametrize(
    "file", sorted((DOCS / "_static" / "touch").iterdir()), ids=lambda f: f.name
)
def test_nothing_comes_from_elsewhere(file):
    text = file.read_text(encoding="utf-8")
    assert re.findall(r"https?:|//\w+\.|\bimport\b[^ ]*\(|fetch\(|XMLHttp|url\(", text) == []
    assert text.startswith("/* ")
    assert text.count("\n") < 500


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width", [360, 420, 700, 1000, 1400, 1600])
@pytest.mark.parametrize("name", PAGES)
def test_the_page_is_never_wider_than_the_screen(page, name, width, dark):
    browser = page(name, width=width, dark=dark)
    assert browser.run("document.documentElement.scrollWidth") <= width
    cut_off = browser.run("""(() => {
        const root = document.querySelector(".touch"), { right } = root.getBoundingClientRect();
        return [...root.querySelectorAll("*")]
            .filter((e) => !e.closest(".board, svg, details > div"))
            .filter((e) => e.getBoundingClientRect().right > right).map((e) => e.outerHTML);
    })()""")
    assert cut_off == []
    assert browser.run("getComputedStyle(document.querySelector('.touch')).colorScheme") == (
        "dark" if dark else "light"
    )


@pytest.mark.parametrize("name", PAGES)
def test_every_control_has_a_name(page, name):
    nameless = page(name).run("""[...document.querySelectorAll(
        ".touch :is(button, input, select, [role=slider], pre, fieldset)")]
        .filter((e) => !(e.getAttribute("aria-label") || e.labels?.length || e.textContent.trim()))
        .map((e) => e.outerHTML)""")
    assert nameless == []


@pytest.mark.parametrize("name", PAGES)
def test_links_set_what_they_say(page, name):
    links = re.findall(r'href="#([^"]+)"', markup(name))
    assert len(links) > 4
    browser = page(name)
    for link in links:
        link = link.replace("&amp;", "&")
        file = browser.run("location.href.split('#')[0]")
        browser.open(f"{file}#{link}")
        browser.run("new Promise((go) => setTimeout(go, 300))")  # the address is written late
        written = browser.run("decodeURIComponent(location.hash.slice(1))")
        assert dict(parse_qsl(written)) == dict(parse_qsl(link))


def test_arrow_keys_do_not_turn_the_sites_pages(page):
    for name, focus in (("kernel", ".kernel"), ("detection", "[type=range]")):
        browser = page(name)
        browser.run("addEventListener('keydown', (e) => { (window.heard ??= []).push(e.key); })")
        browser.run(f"document.querySelector({json.dumps(focus)}).focus()")
        browser.press("ArrowRight")
        browser.press("a")
        assert browser.run("window.heard") == ["a"]
