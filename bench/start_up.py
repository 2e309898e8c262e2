#!/usr/bin/env python3
"""Times a training run from the start of its process to the end of its first update.

    python bench/start_up.py --model FOLDER --train train.tsv [--ranks 1] [--rounds 5] [--batch 8] [--out results.json]

Each round is a run of one update in an empty folder, files warm from a run before; the clock stops when the first line of
metrics.jsonl is there, and the update itself, as that line has it, is taken off: what remains is the start. Also prints the
processor's seconds of the whole run. --ranks 0 starts without mpirun. Several programs (--strata A B) take turns.
"""
import argparse
import datetime
import json
import os
import pathlib
import resource
import statistics
import subprocess
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent


def one_run(options, program):
    with tempfile.TemporaryDirectory() as out:
        metrics = pathlib.Path(out, "run", "metrics.jsonl")
        command = [program, "train", "--model_name_or_path", options.model, "--train_file", options.train,
                   "--output_dir", out + "/run", "--max_steps", "1", "--per_device_train_batch_size", str(options.batch),
                   "--save_strategy", "no", "--logging_steps", "1", "--progress", "off", *options.more]
        if options.ranks > 0:
            command = ["mpirun", *(["--allow-run-as-root"] if os.geteuid() == 0 else []), "--oversubscribe", "--bind-to",
                       "none", "-np", str(options.ranks), *command]
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        begin = time.perf_counter()
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        while process.poll() is None and not (metrics.exists() and metrics.read_text().endswith("\n")):
            time.sleep(0.002)
        seconds = time.perf_counter() - begin
        if process.wait() != 0:
            raise SystemExit(process.returncode)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        update = sum(json.loads(metrics.read_text().splitlines()[0])["seconds"].values())
        return {"seconds_to_first_update": seconds - update, "update_seconds": update,
                "user_seconds": after.ru_utime - before.ru_utime, "system_seconds": after.ru_stime - before.ru_stime}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True)
    parser.add_argument("--train", required=True)
    parser.add_argument("--ranks", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--strata", nargs="+", default=[str(ROOT / "build/strata")])
    parser.add_argument("--more", nargs="*", default=[], help="more flags of strata train")
    parser.add_argument("--out", type=pathlib.Path)
    options = parser.parse_args()
    for program in options.strata:
        one_run(options, program)  # warms the files
    runs = {program: [] for program in options.strata}
    for _ in range(options.rounds):
        for program in options.strata:
            runs[program].append(one_run(options, program))
    for name, results in runs.items():
        middle = {key: statistics.median(r[key] for r in results) for key in results[0]}
        times = [r["seconds_to_first_update"] for r in results]
        print(f"{name}: {middle['seconds_to_first_update']:.2f} s to the first update ({min(times):.2f} to {max(times):.2f}); "
              f"processor {middle['user_seconds']:.2f} s + {middle['system_seconds']:.2f} s in the system, whole run")
    if options.out:
        commit = subprocess.run(["git", "-C", str(ROOT), "rev-parse", "--short", "HEAD"], stdout=subprocess.PIPE, text=True)
        options.out.write_text(json.dumps({"date": datetime.date.today().isoformat(), "commit": commit.stdout.strip(),
                                           "ranks": options.ranks, "cores": os.cpu_count(), "runs": runs}, indent=1) + "\n")


if __name__ == "__main__":
    main()
