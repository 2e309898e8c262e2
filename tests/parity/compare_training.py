#!/usr/bin/env python3
"""Trains a real model with strata and with plain PyTorch, and prints how far apart they end.

    python tests/parity/compare_training.py --model FOLDER --train train.tsv [--steps 20] [--ranks 2] [--strata build/strata]

Dropout off, no shuffling, layer-decay groups, torch.optim.AdamW with the same groups, padded batches against packed
ones. Needs torch, transformers and safetensors; the program itself needs none of them.
"""
import argparse
import json
import os
import pathlib
import re
import subprocess
import tempfile

import torch
from safetensors.torch import load_file
from transformers import AutoModelForSequenceClassification, AutoTokenizer, get_linear_schedule_with_warmup

ROOT = pathlib.Path(__file__).resolve().parents[2]
BATCH, RATE, DECAY, WEIGHT_DECAY, MAX_LENGTH, WARMUP = 12, 5e-5, 0.9, 0.01, 64, 4


def group_of(name, layers):
    match = re.match(r"bert\.encoder\.layer\.(\d+)\.", name)
    if match:
        return DECAY ** (layers - int(match[1]))
    return DECAY ** (layers + 1) if name.startswith("bert.embeddings.") else 1.0


def run_torch(folder, rows, steps):
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForSequenceClassification.from_pretrained(folder).eval()  # dropout off
    groups = {}
    for name, parameter in model.named_parameters():
        decays = not (name.endswith(".bias") or "LayerNorm" in name)
        groups.setdefault((group_of(name, model.config.num_hidden_layers), decays), []).append(parameter)
    optimizer = torch.optim.AdamW([{"params": p, "lr": RATE * m, "weight_decay": WEIGHT_DECAY if d else 0.0}
                                   for (m, d), p in groups.items()])
    schedule = get_linear_schedule_with_warmup(optimizer, WARMUP, steps)
    losses = []
    for step in range(steps):
        batch = rows[step * BATCH:(step + 1) * BATCH]
        inputs = tokenizer([t for t, _ in batch], padding=True, truncation=True, max_length=MAX_LENGTH, return_tensors="pt")
        loss = model(**inputs, labels=torch.tensor([l for _, l in batch])).loss
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        losses.append(loss.item())
    return losses, dict(model.named_parameters())


def run_strata(program, folder, train, steps, ranks, out):
    command = ["mpirun", "--oversubscribe", "--bind-to", "none", "-np", str(ranks)]
    if os.geteuid() == 0:
        command.insert(1, "--allow-run-as-root")
    command += [program, "train", "--model_name_or_path", folder, "--train_file", train, "--output_dir", out + "/run",
                "--max_steps", str(steps), "--bf16", "false", "--per_device_train_batch_size", str(BATCH // ranks), "--learning_rate", str(RATE),
                "--layer_decay", str(DECAY), "--weight_decay", str(WEIGHT_DECAY), "--max_seq_length", str(MAX_LENGTH),
                "--warmup_steps", str(WARMUP), "--hidden_dropout_prob", "0", "--attention_probs_dropout_prob", "0",
                "--shuffle", "false", "--logging_steps", "1", "--save_strategy", "no", "--progress", "off"]
    subprocess.run(command, check=True, env={**os.environ, "OMP_NUM_THREADS": "1"}, stdout=subprocess.DEVNULL)
    lines = pathlib.Path(out, "run/metrics.jsonl").read_text().splitlines()
    return [json.loads(line)["loss"] for line in lines], load_file(out + "/run/model.safetensors")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True)
    parser.add_argument("--train", required=True)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--ranks", type=int, default=2)
    parser.add_argument("--strata", default=str(ROOT / "build/strata"))
    options = parser.parse_args()
    rows = [(t.strip(), int(l)) for t, l in (line.rsplit("\t", 1) for line in
                                             pathlib.Path(options.train).read_text(encoding="utf-8").split("\n") if line)]
    with tempfile.TemporaryDirectory() as out:
        # The head must be the same: PyTorch draws one and strata loads it.
        torch.manual_seed(1)
        folder = out + "/start"
        AutoModelForSequenceClassification.from_pretrained(options.model, num_labels=2).save_pretrained(folder)
        AutoTokenizer.from_pretrained(options.model).save_pretrained(folder)
        subprocess.run(["cp", options.model + "/vocab.txt", folder], check=True)
        losses, parameters = run_torch(folder, rows, options.steps)
        own_losses, own = run_strata(options.strata, folder, options.train, options.steps, options.ranks, out)
        loss = max(abs(a - b) / b for a, b in zip(own_losses, losses))
        differences = sorted(((own[n] - p.detach()).abs().max().item(), n) for n, p in parameters.items())
        keys = max(d for d, n in differences if n.endswith("key.bias"))
        rest = max(d for d, n in differences if not n.endswith("key.bias"))
        print(f"{options.steps} updates on {options.ranks} ranks: losses within {loss:.1e} relative; parameters within "
              f"{rest:.1e} absolute, attention key biases (true gradient zero) within {keys:.1e}")


if __name__ == "__main__":
    main()
