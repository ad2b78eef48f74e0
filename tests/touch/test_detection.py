"""Spikes in noise: events, matching, d' and the predicted F1 are those of tinynn.spikes."""

import json
import math
import re

import numpy as np
import pytest

from tinynn import spikes

NUMBERS = """() => Object.fromEntries([...document.querySelectorAll(".cards > div")].map((card) =>
    [card.querySelector("dt").textContent, Number(card.querySelector("data")?.value ?? NaN)]))"""
SETTLED = f"""async () => {{
    await new Promise((go) => setTimeout(go, 400)); // the prediction comes a little later
    return {{ numbers: ({NUMBERS})(), code: document.querySelector(".touch code").textContent }};
}}"""


def calls(browser, function, arguments):
    """Return the results of a function of the page for many lists of arguments."""
    return browser.run(f"{json.dumps(arguments)}.map((a) => Touch.spikes.{function}(...a))")


def noise_of(a):
    return [a] if a else "white"


def recording_of(browser, **how):
    """Return a recording of the page: samples and times."""
    r = browser.run(
        f"(() => {{ const r = Touch.spikes.simulate({json.dumps(how)});"
        "return [[...r.x], r.times, r.template]; })()"
    )
    return tuple(map(np.array, r))


def correlated(x, kernel):
    left = (kernel.size - 1) // 2
    return np.correlate(np.pad(x, (left, kernel.size - 1 - left)), kernel, "valid")


def test_events_are_found_as_the_library_finds_them(page):
    rng = np.random.default_rng(0)
    drawn = []
    for _ in range(400):
        scale = rng.choice([1, 2, 50])  # few values make plateaus and ties
        score = rng.integers(-scale, scale + 1, rng.integers(1, 30)).tolist()
        drawn.append([score, float(rng.integers(-scale - 1, scale)) + 0.5, int(rng.integers(0, 6))])
    found = calls(page("detection"), "findEvents", drawn)
    for (score, threshold, exclusion), events in zip(drawn, found, strict=True):
        expected = spikes.find_events(score, threshold, exclusion=exclusion)
        assert events == expected.tolist(), (score, threshold, exclusion)


def test_events_are_matched_as_the_library_matches_them(page):
    rng = np.random.default_rng(1)
    drawn = [
        [sorted(rng.choice(60, n, replace=False).tolist()) for n in rng.integers(0, 15, 2)]
        + [int(rng.integers(0, 5))]
        for _ in range(300)
    ]
    for (truth, found, tolerance), m in zip(
        drawn, calls(page("detection"), "match", drawn), strict=True
    ):
        expected = spikes.match(truth, found, tolerance)
        assert m["pairs"] == expected.pairs.tolist()
        assert (m["tp"], m["fp"], m["fn"]) == (expected.tp, expected.fp, expected.fn)
        for name in ("precision", "recall", "f1"):
            value = math.nan if m[name] is None else m[name]
            assert value == pytest.approx(getattr(expected, name), nan_ok=True, abs=1e-12)


def test_filters_and_dprime_are_the_librarys(page):
    rng, browser = np.random.default_rng(2), page("detection")
    np.testing.assert_allclose(
        browser.run("Touch.spikes.waveform()"), spikes.waveform(), atol=1e-15
    )
    drawn = [
        [rng.normal(size=taps).tolist(), rng.normal(size=size).tolist(), a]
        for a in (0, -0.9, 0.5, 0.95) for taps in (1, 4, 5, 27) for size in (4, 5, 25)
    ]  # fmt: skip
    for (w, s, a), value in zip(drawn, calls(browser, "dprime", drawn), strict=True):
        assert value == pytest.approx(spikes.dprime(w, s, noise_of(a)), rel=1e-10)
    pairs = [[s, a] for _, s, a in drawn]
    for (s, a), kernel in zip(pairs, calls(browser, "matchedFilter", pairs), strict=True):
        np.testing.assert_allclose(kernel, spikes.matched_filter(s, noise_of(a)), atol=1e-9)


def test_the_predicted_f1_is_the_librarys(page):
    rng = np.random.default_rng(3)
    drawn = [
        [{"dprime": float(rng.uniform(1, 8)), "rate": float(rng.uniform(0.001, 0.035)),
          "tolerance": int(rng.integers(0, 13)), "ar": round(float(rng.uniform(-0.9, 0.95)), 2)}]
        for _ in range(24)
    ] + [[{"dprime": d, "rate": 0.01, "tolerance": 2, "ar": 0}] for d in (3, 4, 5)]  # fmt: skip
    for (how,), result in zip(drawn, calls(page("detection"), "theory", drawn), strict=True):
        noise = noise_of(how["ar"])
        expected = spikes.predicted_f1(
            how["dprime"], how["rate"], tolerance=how["tolerance"], noise=noise
        )
        error = 4e-4 if how["tolerance"] < 4 else 1.5e-3  # both average over a lattice
        assert result["f1"] == pytest.approx(expected, abs=error), how


@pytest.mark.parametrize("filtered", ["matched", "shape"])
def test_the_numbers_shown_are_those_of_the_whole_chain(page, visit, filtered):
    rng, browser = np.random.default_rng(4), page("detection")
    settings = [
        {"dprime": round(rng.uniform(2, 6), 1), "rate": int(rng.integers(2, 35)),
         "ar": float(rng.choice([0, 0.5, 0.9, -0.5])), "threshold": int(rng.integers(20, 90)) / 20,
         "tolerance": int(rng.integers(0, 6)), "seed": int(rng.integers(1, 99)), "filter": filtered}
        for _ in range(8)
    ]  # fmt: skip
    addresses = ["&".join(f"{k}={v}" for k, v in one.items()) for one in settings]
    for one, read in zip(settings, visit(browser, addresses, SETTLED), strict=True):
        rate, a = one["rate"] / 1000, one["ar"]
        x, times, template = recording_of(
            browser, seed=one["seed"], rate=rate, dprime=one["dprime"], ar=a
        )
        matched = spikes.matched_filter(template, noise_of(a))
        assert spikes.dprime(matched, template, noise_of(a)) == pytest.approx(one["dprime"])
        kernel = matched if filtered == "matched" else template
        sd = math.sqrt(
            kernel @ a ** np.abs(np.subtract.outer(*2 * [np.arange(kernel.size)])) @ kernel
        )
        found = spikes.find_events(correlated(x, kernel) / sd, one["threshold"], exclusion=12)
        m = spikes.match(times, found, one["tolerance"])
        shown = read["numbers"]
        assert [shown[k] for k in ("found", "missed", "false alarms")] == [m.tp, m.fn, m.fp], one
        for name, value in (("precision", m.precision), ("recall", m.recall), ("F1", m.f1)):
            assert shown[name] == pytest.approx(value, abs=1e-12, nan_ok=True)
        limit = spikes.predicted_f1(
            one["dprime"], rate, tolerance=one["tolerance"], noise=noise_of(a)
        )
        assert shown["theory predicts"] == pytest.approx(limit, abs=1e-3)
        said = []
        exec(read["code"], {"print": said.append})
        assert said[1] == limit
        chance = math.sqrt(limit * (1 - limit) / len(times)) + 0.01
        assert said[0].f1 == pytest.approx(m.f1, abs=6 * chance)


@pytest.mark.parametrize("a", [0, 0.9, -0.6])
def test_recordings_follow_the_law_that_the_library_states(page, a):
    browser, values, gaps, first = page("detection"), [], [], []
    for seed in range(1, 31):
        x, times, template = recording_of(browser, seed=seed, rate=0.02, dprime=4, ar=a)
        for time in times:
            x[time - 12 : time + 13] -= template
        values.append(x)
        gaps.append(np.diff(times))
        first.append(len(times))
    x, gaps = np.array(values), np.concatenate(gaps)
    effective = x.size * (1 - a * a) / (1 + a * a)
    assert np.mean(x) == pytest.approx(0, abs=4 * math.sqrt((1 + a) / (1 - a) / x.size))
    assert np.var(x) == pytest.approx(1, abs=4 * math.sqrt(2 / effective))
    assert np.mean(x[:, 1:] * x[:, :-1]) == pytest.approx(a, abs=4 * math.sqrt(2 / effective))
    assert abs(np.mean(x**3)) < 0.1
    assert np.mean(x**4) == pytest.approx(3, abs=0.15)
    assert gaps.min() >= 25
    assert np.mean(gaps) == pytest.approx(50, rel=0.03)
    assert np.var(gaps) == pytest.approx(25 * 26, rel=0.1)  # geometric, of mean 25
    assert np.mean(first) == pytest.approx(0.02 * 19_976, rel=0.02)


def test_the_noise_stays_when_the_spikes_grow(page):
    browser = page("detection")
    x, times, template = recording_of(browser, seed=3, rate=0.01, dprime=3, ar=0.5)
    larger, same, _ = recording_of(browser, seed=3, rate=0.01, dprime=6, ar=0.5)
    assert times.tolist() == same.tolist()
    for time in times:
        x[time - 12 : time + 13] += template
    np.testing.assert_allclose(x, larger, atol=1e-12)


@pytest.mark.parametrize("touch", [False, True], ids=["mouse", "finger"])
def test_the_threshold_is_dragged(page, touch):
    browser = page("detection", touch=touch)
    before = browser.run(f"({NUMBERS})()")
    x, y = browser.place(".handle circle")
    browser.drag((x, y), (x, y - 50), touch=touch)
    after = browser.run(f"({NUMBERS})()")
    assert after["missed"] > before["missed"]
    assert after["false alarms"] < before["false alarms"]
    threshold = float(browser.run("document.querySelectorAll('[type=range]')[3].value"))
    assert threshold > 4
    assert f", {threshold:g}, exclusion" in browser.run(
        "document.querySelector('code').textContent"
    )


@pytest.mark.parametrize("touch", [False, True], ids=["mouse", "finger"])
def test_the_recording_is_dragged_along(page, touch):
    browser = page("detection", "from=1000", touch=touch)
    x, y = browser.place(".recording")
    browser.drag((x, y), (x - 150, y), touch=touch)
    text = browser.run("document.querySelector('.plot .name').textContent")
    assert 1050 < int(re.search(r"samples ([\d,]+) to", text)[1].replace(",", "")) < 1300


def test_buttons_lead_to_misses_and_false_alarms_and_to_the_best_threshold(page):
    browser = page("detection", "seed=7")
    middle = "document.querySelector('.recording').clientWidth / 2"
    for index, mark in ((3, ".recording .miss"), (4, ".score .wrong")):
        for _ in range(4):
            browser.click(".bar button", index)
            far = browser.run(f"""Math.min(...[
                ...document.querySelectorAll({json.dumps(mark)})].map((e) => {{
                const r = e.getBoundingClientRect(), p = e.ownerSVGElement.getBoundingClientRect();
                return Math.abs(r.left + r.width / 2 - p.left - {middle}); }}))""")
            assert far < 4
    browser.run("new Promise((go) => setTimeout(go, 400))")
    browser.click(".bar button", 5)
    best = float(browser.run("document.querySelectorAll('[type=range]')[3].value"))
    theory = browser.run("Touch.spikes.theory({ dprime: 4, rate: 0.01, tolerance: 2, ar: 0 }).u")
    assert best == pytest.approx(theory, abs=0.026)
    before = browser.run(f"({NUMBERS})()")
    browser.click(".bar button", 0)
    assert browser.run(f"({NUMBERS})()") != before
    assert "rng=8)" in browser.run("document.querySelector('code').textContent")


def test_sliders_move_with_keys_and_say_what_they_stand_at(page):
    browser = page("detection")
    browser.run("document.querySelectorAll('[type=range]')[1].focus()")
    for _ in range(2):
        browser.press("ArrowRight")
    told = browser.run("document.activeElement.getAttribute('aria-valuetext')")
    assert told == "AR(1), coefficient 0.1"
    assert "noise=[0.1]" in browser.run("document.querySelector('code').textContent")


@pytest.mark.parametrize("wrong", ["dprime=x", "seed=", "filter=best", "nothing=1", "rate=NaN"])
def test_what_an_address_says_wrongly_is_as_at_the_start(page, visit, wrong):
    browser = page("detection")
    usual = browser.run(f"({SETTLED})()")
    assert visit(browser, [wrong], SETTLED) == [usual]
