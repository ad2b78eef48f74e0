"""The sliding kernel: its numbers are tinynn's, whatever is chosen, dragged, pressed or typed."""

import json
import re

import numpy as np
import pytest

import tinynn as tnn
from tinynn.nn import activations

READ = """() => ({
    rows: [...document.querySelectorAll(".touch tbody tr")].map((row) =>
        [...row.querySelectorAll("data")].map((cell) => Number(cell.value))),
    code: document.querySelector(".touch code").textContent,
    remarks: document.querySelector(".touch .remarks").textContent,
})"""
PADDINGS = ["valid", "same", "same_lower", "causal", 0, 1, 2, 5]


def drawn(rng):
    """Return a setting of every option, as a dict."""
    length = int(rng.integers(1, 21))
    names = sorted(set(activations.TABLE) - {"softmax", "log_softmax"})
    padding = PADDINGS[rng.integers(len(PADDINGS))]
    return {
        "x": rng.normal(scale=3, size=length).round(2),
        "w": rng.normal(size=int(rng.integers(1, 10))).round(2),
        "bias": round(rng.normal(), 2),
        "padding": padding,
        "strides": int(rng.integers(1, 5)),
        "dilation_rate": int(rng.integers(1, 4)),
        "activation": names[rng.integers(len(names))],
    }


def address(setting):
    """Return the part of a page's address behind #."""
    lists = {k: ",".join(map(str, v)) for k, v in setting.items() if isinstance(v, np.ndarray)}
    return "&".join(f"{name}={value}" for name, value in {**setting, **lists}.items())


def layer_of(setting):
    """Return the layer of tinynn with that setting."""
    options = {k: v for k, v in setting.items() if k not in ("x", "w", "bias")}
    layer = tnn.Conv1d(1, 1, len(setting["w"]), **options, dtype="float64", rng=0)
    layer.kernel.data[:, 0, 0] = setting["w"]
    layer.bias.data[:] = setting["bias"]
    return layer


def printed(code):
    """Run the code that the page shows; return what it prints, as an array."""
    shown = []
    exec(code, {"print": shown.append})
    return np.ravel(np.asarray(shown[0]))


def rows(browser):
    return np.array(browser.run(f"({READ})().rows")).reshape(-1, 3)


def now(browser):
    return browser.run("Number(document.querySelector('.kernel').ariaValueNow)")


def test_the_feature_map_is_that_of_the_library_for_every_option(page, visit):
    settings = [drawn(np.random.default_rng(seed)) for seed in range(250)]
    seen = {(name, str(s[name])) for s in settings for name in ("padding", "activation")}
    assert len(seen) == len(PADDINGS) + len(activations.TABLE) - 2
    too_short = 0
    for setting, read in zip(
        settings, visit(page("kernel"), map(address, settings), READ), strict=True
    ):
        layer, x = layer_of(setting), setting["x"][:, None]
        if not read["rows"]:
            with pytest.raises(ValueError, match="shortest input") as error:
                layer(x)
            shortest = re.search(r"has (\d+)", str(error.value).partition("shortest")[2])[1]
            assert f"the shortest input has {shortest}" in read["remarks"]
            too_short += 1
            continue
        positions, sums, outputs = np.array(read["rows"]).T
        expected = np.asarray(layer(x))[:, 0]
        np.testing.assert_array_equal(positions, layer.output_positions(len(x)))
        np.testing.assert_allclose(outputs, expected, rtol=1e-11, atol=1e-13)
        layer.activation, layer.bias.data = activations.linear, np.zeros(1)
        np.testing.assert_allclose(sums, np.asarray(layer(x))[:, 0], rtol=1e-11, atol=1e-13)
        np.testing.assert_allclose(printed(read["code"]), expected, rtol=1e-11, atol=1e-13)
        if setting["strides"] == 1 and outputs.size > 1:
            assert f"= {outputs.size} entries" in read["remarks"]
    assert 5 < too_short < 100


def test_dense_and_shuffling_are_those_of_the_code_shown(page, visit):
    rng = np.random.default_rng(1)
    settings = [
        {"layer": layer, "x": rng.normal(size=9).round(2), "theta": rng.normal(size=9).round(2),
         "bias": 0.25, "activation": "tanh", "shuffle": seed, "both": both}
        for seed in (0, 1, 7) for both in (0, 1) for layer in ("dense", "conv1d")
    ]  # fmt: skip
    reads = visit(page("kernel"), map(address, settings), READ)
    for setting, read in zip(settings, reads, strict=True):
        outputs = np.array(read["rows"])[:, 2]
        np.testing.assert_allclose(outputs, printed(read["code"]), rtol=1e-12)
        assert ("perm" in read["code"]) == bool(setting["shuffle"])
        if setting["layer"] == "dense" and (setting["both"] or not setting["shuffle"]):
            expected = np.tanh(setting["x"] @ setting["theta"] + 0.25)
            np.testing.assert_allclose(outputs, [expected], rtol=1e-12)
        elif setting["layer"] == "dense":
            assert abs(outputs[0] - np.tanh(setting["x"] @ setting["theta"] + 0.25)) > 1e-3


@pytest.mark.parametrize("touch", [False, True], ids=["mouse", "finger"])
@pytest.mark.parametrize(("width", "cells", "strides"), [(1000, 5, 1), (400, 3, 1), (1000, 4, 2)])
def test_the_kernel_is_dragged_along_the_series(page, touch, width, cells, strides):
    browser = page("kernel", f"strides={strides}&entry=1", width=width, touch=touch)
    x, y = browser.place(".grip")
    column = browser.run("document.querySelector('.strip.input input').offsetWidth") + 4
    browser.drag((x, y), (x + cells * column, y + 3), touch=touch)
    assert now(browser) == 1 + cells // strides


@pytest.mark.parametrize("touch", [False, True], ids=["mouse", "finger"])
def test_bars_are_dragged_up_and_down(page, touch):
    browser = page("kernel", touch=touch)
    before = rows(browser)
    x, y = browser.place(".kernel input", 1)
    browser.drag((x, y - 45), (x, y - 75), touch=touch)
    weight = browser.run("document.querySelectorAll('.kernel input')[1].value")
    assert float(weight) > 1.2
    assert now(browser) == 4
    x, y = browser.place(".strip.input > div input", 7)
    browser.drag((x, y - 40), (x, y - 60), touch=touch)
    value = browser.run("document.querySelectorAll('.strip.input > div input')[7].value")
    assert float(value) > 0
    assert now(browser) == 4
    after = rows(browser)
    assert not np.allclose(before[:, 1], after[:, 1])
    code = browser.run("document.querySelector('.touch code').textContent")
    np.testing.assert_allclose(printed(code), after[:, 2])


def test_a_click_brings_the_kernel_there(page):
    browser = page("kernel", "padding=valid")
    x, y = browser.place(".strip.input > div input", 11)
    browser.drag((x, y - 50), (x, y - 50), steps=1)
    assert now(browser) == 10  # centred on location 11


def test_keys_slide_the_kernel_and_edit_it(page):
    browser = page("kernel")
    browser.run("document.querySelector('.kernel').focus()")
    for key, expected in (("ArrowRight", 5), ("ArrowLeft", 4), ("Home", 0), ("ArrowLeft", 0),
                          ("End", 15), ("ArrowRight", 15)):  # fmt: skip
        browser.press(key)
        assert now(browser) == expected
    text = browser.run("document.querySelector('.kernel').getAttribute('aria-valuetext')")
    assert text == "Entry 15, centred on location 15: sum 0.25, output 0.25"
    browser.press("Enter")
    browser.send("Input.insertText", text="-2,5")
    browser.press("Tab")
    browser.press("ArrowUp")
    browser.press("Enter")
    weights = browser.run("[...document.querySelectorAll('.kernel input')].map((e) => e.value)")
    assert weights == ["−2.5", "1.5", "−0.5"]
    assert browser.run("document.activeElement.className") == "kernel"
    assert "[-2.5, 1.5, -0.5]" in browser.run("document.querySelector('.touch code').textContent")


def test_nonsense_in_a_field_changes_nothing(page):
    browser = page("kernel")
    before = rows(browser)
    browser.run("document.querySelector('.kernel input').focus()")
    browser.send("Input.insertText", text="two")
    browser.press("Tab")
    np.testing.assert_array_equal(rows(browser), before)
    assert browser.run("document.querySelector('.kernel input').value") == "0.5"


@pytest.mark.parametrize(
    "wrong",
    ["x=1,a,2", "w=", "w=1,,2", "padding=reflect", "strides=0", "strides=1.5", "activation=softmax",
     "theta=1,2", "bias=1,2", "entry=-1", "x=" + ",".join(["1"] * 41), "layer=lstm", "nothing=1"],
)  # fmt: skip
def test_what_an_address_says_wrongly_is_as_at_the_start(page, wrong):
    browser = page("kernel")
    usual = rows(browser)
    page("kernel", wrong)
    if wrong == "strides=0":  # below the range
        assert len(rows(browser)) == 16
    np.testing.assert_array_equal(rows(browser), usual)


def test_the_map_grows_while_the_kernel_slides(page):
    browser = page("kernel", "entry=0")
    unknown = "document.querySelectorAll('.unknown').length"
    assert browser.run(unknown) == 15
    browser.click(".bar .pair button", 4)  # one location on
    assert browser.run(unknown) == 14
    browser.click(".play")
    browser.run("new Promise((go) => setTimeout(go, 1500))")
    assert 9 < browser.run(unknown) < 14
    browser.click(".play")
    assert "Play" in browser.run("document.querySelector('.play').textContent")
    stopped = now(browser)
    browser.run("new Promise((go) => setTimeout(go, 800))")
    assert now(browser) == stopped


@pytest.mark.parametrize(("before", "after"), [(3, 4), (3, 5), (4, 3), (3, 9), (5, 1)])
def test_more_taps_leave_the_middle_in_the_middle(page, before, after):
    w = np.arange(1, before + 1)
    browser = page("kernel", f"w={','.join(map(str, w))}")
    browser.run(f"""(() => {{ const one = [...document.querySelectorAll("label")]
        .find((e) => e.textContent === "kernel_size").querySelector("input");
        one.value = {after}; one.dispatchEvent(new Event("change")); }})()""")
    new = json.loads(re.search(r"0, 0\] = (\[.*\])", browser.run(f"({READ})().code"))[1])
    assert len(new) == after
    assert new[(after - 1) // 2] == w[(before - 1) // 2]
