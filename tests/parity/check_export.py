#!/usr/bin/env python3
"""Checks that a folder from `strata checkpoint export` is what transformers' save_pretrained makes of the same checkpoint.

    check_export.py CHECKPOINT EXPORTED DTYPE MAX_SHARD_SIZE

The same weight files with the same tensors in them, bit for bit, the same index, and from_pretrained misses nothing. Needs
transformers, torch and safetensors (written with 5.23.0, 2.11.0, 0.8.0).
"""

import json
import pathlib
import sys
import tempfile

import torch
from safetensors.torch import load_file
from transformers import AutoConfig, AutoModelForSequenceClassification, AutoTokenizer


def weight_files(folder):
    return {path.name: load_file(path) for path in pathlib.Path(folder).glob("*.safetensors")}


def main():
    checkpoint, exported, dtype, size = sys.argv[1:]
    dtype = getattr(torch, dtype)
    # Made from its configuration: from_pretrained may note renamings, which later reorder what save_pretrained writes.
    reference = AutoModelForSequenceClassification.from_config(AutoConfig.from_pretrained(checkpoint)).to(dtype)
    reference.load_state_dict({name: tensor.to(dtype) for name, tensor in weight_files(checkpoint)["model.safetensors"].items()})
    with tempfile.TemporaryDirectory() as folder:
        reference.save_pretrained(folder, max_shard_size=size)
        theirs, ours = weight_files(folder), weight_files(exported)
        assert theirs.keys() == ours.keys(), (theirs.keys(), ours.keys())
        for name, tensors in theirs.items():
            assert tensors.keys() == ours[name].keys(), name
            for key, tensor in tensors.items():
                assert tensor.dtype == ours[name][key].dtype and torch.equal(tensor, ours[name][key]), (name, key)
        index = "model.safetensors.index.json"
        if len(theirs) > 1:
            assert (pathlib.Path(folder) / index).read_text() == (pathlib.Path(exported) / index).read_text()
    model, info = AutoModelForSequenceClassification.from_pretrained(exported, dtype="auto", output_loading_info=True)
    for problem in ("missing_keys", "unexpected_keys", "mismatched_keys", "error_msgs"):
        assert not info.get(problem), f"{problem}: {info[problem]}"
    assert model.dtype == dtype, model.dtype
    assert model.config.id2label == reference.config.id2label
    text = "A folder's tokenizer, too: naïve déjà-vu!"
    assert AutoTokenizer.from_pretrained(exported)(text).input_ids == AutoTokenizer.from_pretrained(checkpoint)(text).input_ids
    print(json.dumps({"files": sorted(ours), "tensors": sum(map(len, ours.values()))}))


if __name__ == "__main__":
    main()
