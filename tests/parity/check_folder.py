#!/usr/bin/env python3
"""Checks that transformers takes a folder that strata saved, and computes the same logits from it.

    STRATA_MINILM=BASE STRATA_SAVE_TO=FOLDER models_test --gtest_filter='RealModel.*'
    check_folder.py FOLDER [BASE]

FOLDER/batch.safetensors holds a packed batch and strata's logits. With BASE, the encoder's weights must be its own, bit for
bit. Needs transformers, torch and safetensors (written with 5.23.0, 2.11.0, 0.8.0).
"""

import pathlib
import sys

import torch
from safetensors.torch import load_file
from transformers import AutoModel, AutoModelForSequenceClassification, AutoTokenizer

TOLERANCE = 1e-4


def padded(ids, offsets):
    rows = [ids[a:b] for a, b in zip(offsets[:-1], offsets[1:])]
    pad = lambda tensors: torch.nn.utils.rnn.pad_sequence(tensors, batch_first=True)
    return {"input_ids": pad(rows), "attention_mask": pad([torch.ones_like(row) for row in rows])}


def main():
    folder = pathlib.Path(sys.argv[1])
    model, info = AutoModelForSequenceClassification.from_pretrained(folder, output_loading_info=True)
    for problem in ("missing_keys", "unexpected_keys", "mismatched_keys", "error_msgs"):
        assert not info.get(problem), f"{problem}: {info[problem]}"
    assert model.dtype == torch.float32, model.dtype

    batch = load_file(folder / "batch.safetensors")
    with torch.no_grad():
        logits = model.eval()(**padded(batch["ids"], batch["offsets"].tolist())).logits
    difference = (logits - batch["logits"]).abs().max().item()
    print(f"largest difference of logits: {difference:.3g} (of values up to {logits.abs().max().item():.3g})")
    assert difference < TOLERANCE

    if len(sys.argv) > 2:
        ours = {name.removeprefix("bert."): tensor for name, tensor in model.state_dict().items()}
        for name, tensor in AutoModel.from_pretrained(sys.argv[2], dtype=torch.float32).state_dict().items():
            assert torch.equal(tensor, ours[name]), name
        text = "A folder's tokenizer, too: naïve déjà-vu!"
        assert AutoTokenizer.from_pretrained(folder)(text).input_ids == AutoTokenizer.from_pretrained(sys.argv[2])(text).input_ids
    print("ok")


if __name__ == "__main__":
    main()
