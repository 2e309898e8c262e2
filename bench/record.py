"""What the comparisons of this folder share: spreads over rounds, ratios, and the record that --out writes."""
import datetime
import importlib.metadata
import json
import os
import pathlib
import platform
import statistics
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent


def spread(values):
    return {"median": statistics.median(values), "least": min(values), "most": max(values), "rounds": len(values)}


def ratios(ours, theirs):
    """Round by round, so that what else the machine did in a round touches both."""
    return spread([a / b for a, b in zip(ours, theirs)])


def ratio_text(ratio):
    return f"{ratio['median']:.2f}x ({ratio['least']:.2f} to {ratio['most']:.2f})"


def mpirun(ranks):
    as_root = ["--allow-run-as-root"] if os.geteuid() == 0 else []
    return ["mpirun", *as_root, "--oversubscribe", "--bind-to", "none", "-np", str(ranks)]


def grouped_by_length(training_arguments):
    """What asks Trainer for batches of like lengths, in whichever version of transformers."""
    if "train_sampling_strategy" in training_arguments.__dataclass_fields__:
        return {"train_sampling_strategy": "group_by_length"}
    return {"group_by_length": True}


def processor():
    for line in pathlib.Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.machine()


def load():
    """Runnable processes over the last minute: what else the machine does."""
    return round(os.getloadavg()[0], 2)


class Record:
    """Begins with the command; `write` adds what was measured."""

    def __init__(self, *packages):
        commit = subprocess.run(["git", "-C", str(ROOT), "rev-parse", "--short", "HEAD"], capture_output=True, text=True)
        versions = {"python": platform.python_version()}
        for package in packages:
            versions[package] = importlib.metadata.version(package)
        self.content = {"date": datetime.date.today().isoformat(), "command": " ".join(["python", *sys.argv]),
                        "commit": commit.stdout.strip(), "machine": processor(), "cores": len(os.sched_getaffinity(0)),
                        "versions": versions, "load_before": load()}

    def write(self, path, **measured):
        if path is None:
            return
        self.content["load_after"] = load()
        pathlib.Path(path).write_text(json.dumps({**self.content, **measured}, indent=1) + "\n")
