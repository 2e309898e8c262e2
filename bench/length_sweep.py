#!/usr/bin/env python3
"""Sweeps lengths and models: tokens a second of training by strata and by Trainer's training step, and what arithmetic allows.

    python bench/length_sweep.py [--lengths 16 32 64 128 256 512] [--models minilm bert-base] [--steps 4] [--rounds 1]
                                 [--tokens 1024] [--out results.json]

Models have drawn weights: MiniLM-L6 (22.7 M parameters) and BERT-base (109.5 M). Every input has the same length, so there is
nothing to pad or to group, which is the best that Trainer can meet. A step takes --tokens tokens: 64 inputs of 16, two of
512. Of strata: fp32 and bf16 by `strata bench step`, one rank of one thread a core, whose products' arithmetic limit is the last
column. Of Trainer: its training loop in fp32 and in bf16 (autocast), on as many threads, the better of the two the peer; the
first update does not count. A few steps of each, in turns. Needs torch, transformers, accelerate and datasets for the peer.
"""
import argparse
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

from record import ROOT, Record, load, ratio_text, ratios, spread

MODELS = {"minilm": {"hidden_size": 384, "num_hidden_layers": 6, "num_attention_heads": 12, "intermediate_size": 1536},
          "bert-base": {"hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12, "intermediate_size": 3072}}
COMMON = {"model_type": "bert", "architectures": ["BertForSequenceClassification"], "vocab_size": 30522,
          "max_position_embeddings": 512, "hidden_dropout_prob": 0.1, "attention_probs_dropout_prob": 0.1}


def run_strata(options, folder, length, batch, bf16, threads):
    with tempfile.TemporaryDirectory() as out:
        command = [str(options.strata), "bench", "step", "--model_name_or_path", folder, "--max_seq_length", str(length),
                   "--per_device_train_batch_size", str(batch), "--steps", str(options.steps),
                   "--bf16", str(bf16).lower(), "--json", out + "/bench.json"]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env={**os.environ, "OMP_NUM_THREADS": str(threads)})
        bench = json.loads(pathlib.Path(out, "bench.json").read_text())
    return {"tokens_per_second": bench["tokens_per_second"]["median"], "limit": bench["limit"]["tokens_per_second"],
            "reached": bench["limit"]["reached"], "memory": bench["memory"], "seconds": bench["seconds"]}


def run_trainer(options, folder, length, batch, bf16, threads):
    """In a process of its own, so that strata's threads and memory are not its."""
    setting = {"folder": folder, "length": length, "batch": batch, "bf16": bf16, "threads": threads, "steps": options.steps}
    out = subprocess.run([sys.executable, __file__, "--peer", json.dumps(setting)], capture_output=True, text=True,
                         env={**os.environ, "OMP_NUM_THREADS": str(threads)})
    if out.returncode != 0:
        sys.exit(out.stderr)
    return json.loads(out.stdout.splitlines()[-1])


def peer(setting):
    import torch
    from datasets import Dataset
    from transformers import AutoConfig, AutoModelForSequenceClassification, Trainer, TrainerCallback, TrainingArguments
    torch.set_num_threads(setting["threads"])
    torch.manual_seed(42)
    model = AutoModelForSequenceClassification.from_config(AutoConfig.from_pretrained(setting["folder"]))
    steps, batch, length = setting["steps"] + 1, setting["batch"], setting["length"]
    ids = torch.randint(model.config.vocab_size, (steps * batch, length))
    data = Dataset.from_dict({"input_ids": ids.tolist(), "attention_mask": torch.ones_like(ids).tolist(),
                              "labels": [i % 2 for i in range(len(ids))]})

    class Clock(TrainerCallback):
        def __init__(self):
            self.times = []

        def on_step_end(self, *_, **__):
            self.times.append(time.perf_counter())

    clock = Clock()
    with tempfile.TemporaryDirectory() as out:
        arguments = TrainingArguments(output_dir=out, per_device_train_batch_size=batch, max_steps=steps, save_strategy="no",
                                      report_to=[], use_cpu=True, bf16=setting["bf16"], disable_tqdm=True,
                                      logging_strategy="no")
        Trainer(model=model, args=arguments, train_dataset=data, callbacks=[clock]).train()
    seconds = [after - before for before, after in zip(clock.times, clock.times[1:])]
    print(json.dumps({"tokens_per_second": batch * length / statistics.median(seconds), "seconds": seconds}))


def measure(options, name, length, threads):
    batch = max(1, options.tokens // length)
    settings = [(run, kind, bf16) for kind, run in (("strata", run_strata), ("trainer", run_trainer)) for bf16 in (False, True)]
    runs = {}
    with tempfile.TemporaryDirectory() as folder:
        pathlib.Path(folder, "config.json").write_text(json.dumps({**COMMON, **MODELS[name]}))
        for _ in range(options.rounds):
            for run, kind, bf16 in settings:
                result = run(options, folder, length, batch, bf16, threads)
                runs.setdefault(f"{kind} {'bf16' if bf16 else 'fp32'}", []).append({"load": load(), **result})
    speed = {setting: [r["tokens_per_second"] for r in results] for setting, results in runs.items()}
    best = max(("trainer fp32", "trainer bf16"), key=lambda setting: statistics.median(speed[setting]))
    return {"model": name, "length": length, "batch": batch, "tokens_per_second": {k: spread(v) for k, v in speed.items()},
            "limit": {kind: statistics.median(r["limit"] for r in runs[f"strata {kind}"]) for kind in ("fp32", "bf16")},
            "best_trainer": best, "ratios": {kind: ratios(speed[f"strata {kind}"], speed[best]) for kind in ("fp32", "bf16")},
            "runs": runs}


def line_of(row):
    speed = {name: f"{value['median']:.0f}" for name, value in row["tokens_per_second"].items()}
    reached = row["tokens_per_second"]["strata bf16"]["median"] / row["limit"]["bf16"]
    return (f"| {row['model']} | {row['length']} | {row['batch']} | {speed['strata fp32']} | {speed['strata bf16']} | "
            f"{speed['trainer fp32']} | {speed['trainer bf16']} | {ratio_text(row['ratios']['fp32'])} | "
            f"{ratio_text(row['ratios']['bf16'])} | {row['limit']['fp32']:.0f} | {row['limit']['bf16']:.0f} | {reached:.0%} |")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lengths", type=int, nargs="+", default=[16, 32, 64, 128, 256, 512])
    parser.add_argument("--models", nargs="+", choices=MODELS, default=list(MODELS))
    parser.add_argument("--steps", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--tokens", type=int, default=1024)
    parser.add_argument("--strata", default=ROOT / "build" / "strata")
    parser.add_argument("--out")
    parser.add_argument("--peer", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.peer:
        return peer(json.loads(options.peer))
    threads = len(os.sched_getaffinity(0))
    record = Record("torch", "transformers", "accelerate")
    rows = []
    print("| model | length | batch | strata fp32 | strata bf16 | Trainer fp32 | Trainer bf16 | fp32 is | bf16 is | limit fp32 | "
          "limit bf16 | bf16 reaches |")
    print("|" + " --- |" * 12)
    for name in options.models:
        for length in options.lengths:
            rows.append(measure(options, name, length, threads))
            print(line_of(rows[-1]), flush=True)
    record.write(options.out, threads=threads, rows=rows)


if __name__ == "__main__":
    main()
