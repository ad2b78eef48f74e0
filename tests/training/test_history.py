"""History: figures by epoch, and the files that are made of them."""

import json
import math

import numpy as np
import pytest

import tinynn as tnn


def made():
    history = tnn.History()
    history.append({"loss": 0.5})
    history.append({"loss": 0.25, "f1": 1 / 3})
    history.append({"f1": 1.0})
    return history


def test_all_lists_are_equally_long():
    history = made()
    assert history.epoch == [0, 1, 2]
    np.testing.assert_array_equal(history.history["loss"], [0.5, 0.25, np.nan])
    np.testing.assert_array_equal(history.history["f1"], [np.nan, 1 / 3, 1.0])


def test_json_holds_all_of_it_and_nothing_that_is_no_json(tmp_path):
    history = made()
    history.append({"loss": math.inf, "f1": 1.0})
    text = history.to_json(tmp_path / "history.json")
    assert (tmp_path / "history.json").read_text() == text + "\n"
    read = json.loads(text, parse_constant=pytest.fail)
    assert read["history"] == {"loss": [0.5, 0.25, None, None], "f1": [None, 1 / 3, 1.0, 1.0]}
    assert tnn.History(**read).notes == []


def test_csv_is_read_back_by_pandas(tmp_path):
    pandas = pytest.importorskip("pandas")
    history = made()
    history.to_csv(tmp_path / "history.csv")
    assert (tmp_path / "history.csv").read_text().splitlines()[:2] == ["epoch,loss,f1", "0,0.5,"]
    frame = pandas.read_csv(tmp_path / "history.csv")
    pandas.testing.assert_frame_equal(frame[["loss", "f1"]], pandas.DataFrame(history.history))


def test_an_empty_history_is_written_too(tmp_path):
    tnn.History().to_csv(tmp_path / "history.csv")
    assert (tmp_path / "history.csv").read_text() == "epoch\n"
    assert tnn.History().epoch == []
