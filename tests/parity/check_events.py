#!/usr/bin/env python3
"""Reads a run's TensorBoard events with the tensorboard package and compares them with what the run wrote down elsewhere.

    pip install tensorboard && python tests/parity/check_events.py RUN

Every logged update's numbers (metrics.jsonl) and every evaluation's (evaluations.jsonl, all_results.json) must be there at
their steps, to single precision, and no point that is in neither: what a killed run logged and the resumed one made
again is void.
"""
import argparse
import json
import math
import pathlib

import numpy
from tensorboard.backend.event_processing.event_accumulator import SCALARS, EventAccumulator

SECTIONS = {"lr": "lr", "grad_norm": "group_grad_norm", "weight_norm": "group_weight_norm",
            "update_ratio": "group_update_ratio", "seconds": "seconds"}
TRAIN = {"loss": "mean_loss", "grad_norm": "grad_norm", "epoch": "epoch", "tokens_per_second": "tokens_per_second",
         "bytes_sent": "bytes_sent", "optimizer_bytes": "optimizer_bytes"}


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def expected_points(run):
    """(tag, step) -> value."""
    points = {}
    for line in lines(run / "metrics.jsonl"):
        step = line["step"]
        for tag, name in TRAIN.items():
            points[f"train/{tag}", step] = line[name]
        points["train/skipped_steps", step] = line.get("skipped_steps", 0)
        points["train/learning_rate", step] = None  # the last group's; JSON objects have no order
        for section, name in SECTIONS.items():
            for key, value in line[name].items():
                points[f"{section}/{key}", step] = value
    for line in lines(run / "evaluations.jsonl"):
        for name, value in line.items():
            if name.startswith("eval_") and value is not None:
                points["eval/" + name[5:], line["step"]] = value
    results = run / "all_results.json"
    if results.exists():
        values = json.loads(results.read_text())
        for name, value in values.items():
            tag = "eval/" + name[5:] if name.startswith("eval_") else "train/" + name
            if isinstance(value, (int, float)) and name != "epoch":
                points[tag, values["train_steps"]] = value
    return points


def equal(ours, expected):
    expected = math.nan if expected is None else numpy.float32(expected)  # JSON has null for what is not finite
    return ours == expected or (math.isnan(expected) and not math.isfinite(ours))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=pathlib.Path)
    run = parser.parse_args().run
    events = EventAccumulator(str(run), size_guidance={SCALARS: 0})
    events.Reload()
    found = {(tag, point.step): point.value for tag in events.Tags()["scalars"] for point in events.Scalars(tag)}
    expected = expected_points(run)
    missing = sorted(expected.keys() - found.keys())
    unexpected = sorted(found.keys() - expected.keys())
    different = sorted(key for key in expected.keys() & found.keys()
                       if key[0] != "train/learning_rate" and not equal(found[key], expected[key]))
    steps = sorted({step for _, step in found})
    print(f"{len(list(run.glob('events.out.tfevents.*')))} event file(s), {len(events.Tags()['scalars'])} tags, "
          f"{len(found)} points at {len(steps)} steps: {len(missing)} missing, {len(unexpected)} unexpected, "
          f"{len(different)} different")
    for title, keys in (("missing", missing), ("unexpected", unexpected), ("different", different)):
        for tag, step in keys[:5]:
            print(f"  {title}: {tag} at {step}: {found.get((tag, step))}, expected {expected.get((tag, step))}")
    raise SystemExit(bool(missing or unexpected or different or not found))


if __name__ == "__main__":
    main()
