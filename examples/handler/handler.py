"""Flowers in people's words to centimetres, and probabilities to a name. See docs/handler.md."""

import re
from pathlib import Path

import numpy as np
from rapidfuzz import process

MEASURES = ("sepal length", "sepal width", "petal length", "petal width")
SPECIES = Path(__file__).with_name("species.txt").read_text().split()
UNITS = {"mm": 0.1, "cm": 1.0, "in": 2.54}
MEASURE = re.compile(r"([a-z ]+?)\s*([0-9.]+)\s*(mm|cm|in)\b")


class NotAFlower(Exception):
    """The client's mistake: its text is the answer, with this status."""

    status = 400


def preprocess(inputs):
    return {"centimetres": np.array([measured(item.decode()) for item in inputs["flower"]], np.float32).reshape(-1, 4)}


def postprocess(outputs):
    probabilities = outputs["probabilities"]
    return {
        "species": [SPECIES[number] for number in probabilities.argmax(axis=1)],
        "probability": probabilities.max(axis=1),
    }


def measured(text):
    """The four measures in centimetres, whatever their order, units and typing mistakes."""
    found = {}
    for name, number, unit in MEASURE.findall(text.lower()):
        close = process.extractOne(name.strip(), MEASURES, score_cutoff=75)
        if close:
            found[close[0]] = float(number) * UNITS[unit]
    missing = [name for name in MEASURES if name not in found]
    if missing:
        raise NotAFlower(f"{text!r} does not say the {missing[0]}; write for example '{missing[0]} 3.5 cm'")
    return [found[name] for name in MEASURES]
