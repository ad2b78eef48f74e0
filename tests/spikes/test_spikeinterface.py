"""Beside SpikeInterface, where it is installed: its detectors, and the recipes of the page."""

import re
from pathlib import Path

import numpy as np
import pytest

from ..benchmarks.simulated import Case
from ..test_docs import agrees

pytest.importorskip("spikeinterface", reason="SpikeInterface (extra peers) is not installed")

from ..benchmarks import spikeinterface_side as side

PAGE = Path(__file__).parents[2] / "docs" / "how" / "beside-the-field.md"
BLOCK = re.compile(r"^```\{code-block\} python\n(.*?)^```\n(?:```text\n(.*?)^```$)?", re.S | re.M)
LENGTHS = {"train": 100_000, "valid": 40_000, "test": 40_000}

pytestmark = pytest.mark.filterwarnings("ignore")  # its own, and its dependencies'


def test_the_recipes_on_the_page_run(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    names = {"__name__": "page"}
    blocks = BLOCK.findall(PAGE.read_text(encoding="utf-8"))
    assert len(blocks) == 3
    for code, shown in blocks:
        exec(compile(code, str(PAGE), "exec"), names)
        assert agrees(shown, capsys.readouterr().out)


@pytest.mark.parametrize(
    ("noise", "thresholds", "matched"), [("white", 0.63, 0.90), ("time", 0.54, 0.63)]
)
def test_its_detectors_score_as_known(noise, thresholds, matched):
    f1, seconds, helped = side.measure(Case(1, noise, 4), seeds=[0], lengths=LENGTHS)
    assert f1["by_channel"] == pytest.approx(thresholds, abs=0.06)
    assert f1["locally_exclusive"] == pytest.approx(thresholds, abs=0.06)
    assert f1["matched_filtering"] == pytest.approx(matched, abs=0.05)
    assert f1["trained"] > f1["exact"] - 0.04
    assert max(f1.values()) < f1["exact"] + 0.02
    assert helped == "band"
    assert min(seconds.values()) > 0


@pytest.mark.parametrize("method", side.FIELD)
def test_spikes_that_tower_over_the_noise_are_all_found_at_their_time(method):
    case = Case(4, "both", 60)
    r = case.simulate(20_000, seed=0)
    find = side.finder(method, case, r.template, side.recording_of(r.x[0]))
    f1, _, shift = side.tuned(find, r.times[0])
    assert f1 > 0.99
    assert shift == 0
    assert len(find(1_000)) == 0


def test_the_waveform_after_a_band_pass_keeps_its_middle():
    template = Case(4, "white", 4).simulate(500, seed=0).template
    shape, middle = side.waveform_after("band", template, 2)
    assert len(shape) == 49
    assert np.argmax(shape) == middle
    plain, middle = side.waveform_after("white", template, 2)
    np.testing.assert_array_equal(plain, template[:, 2])
    assert np.argmax(plain) == middle
