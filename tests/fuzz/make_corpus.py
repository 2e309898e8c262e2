#!/usr/bin/env python3
"""Writes the seeds of the fuzz targets: corpus/TARGET/NAME. What a fuzzer finds is added beside them by hand.

The first bytes of some targets' inputs choose a file or an option; each target's source says which. Seeds of state.h5 need
h5py, numpy and xxhash (written with 3.16.0, 2.4.6 and 4.1.0).
"""
import gzip
import json
import pathlib
import struct

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent


def seed(target, name, content):
    path = HERE / "corpus" / target / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())


def table(name, form, task, choice, text):
    seed("table", name, bytes([form, task, choice]) + (text if isinstance(text, bytes) else text.encode()))


table("plain.tsv", 0, 0, 0, "good film\t1\nbad film\t0\n")
table("header.tsv", 0, 0, 0, "sentence\tlabel\ngood\t1\nbad\t0\n")
table("pair.tsv", 0, 0, 0, "a\tb\tx\nc\td\ty\n")
table("bom-crlf.tsv", 0, 1, 1, "\ufeffsentence\tlabel\r\ngood\t1\r\n")
table("latin1.tsv", 0, 0, 3, b"caf\xe9\t1\nbar\t0\n")
table("bad-utf8.tsv", 0, 0, 0, b"caf\xe9\t1\n")
table("nul.tsv", 0, 0, 0, b"a\x00b\t1\n")
table("quoted.csv", 1, 0, 0, 'sentence,label\n"a, ""b""\nc",1\nd,0\n')
table("open-quote.csv", 1, 0, 0, 'sentence,label\n"a,1\n')
table("test.csv", 1, 0, 2, "sentence\nonly text\n")
table("rows.jsonl", 2, 0, 0, '{"sentence": "a\\u00e9", "label": 1}\n{"sentence": "b", "label": 0}\n')
table("deep.jsonl", 2, 0, 0, '{"sentence": ' + "[" * 300 + "\n")
table("regression.jsonl", 2, 0, 1, '{"text": "a", "label": 1.5}\n{"text": "b", "label": -2e3}\n')
table("mrpc.tsv", 0, 2, 0, "Quality\t#1 ID\t#2 ID\t#1 String\t#2 String\n1\t1\t2\tone\ttwo\n0\t3\t4\tx\ty\n")
table("stsb.tsv", 0, 3, 0, "index\tgenre\tfilename\tyear\told_index\ts1\ts2\tsentence1\tsentence2\tscore\n0\ta\tb\tc\td\te\tf\tone\ttwo\t2.5\n")
table("qqp.tsv", 0, 4, 0, "id\tqid1\tqid2\tquestion1\tquestion2\tis_duplicate\n1\t2\t3\twhy\thow\t1\n")
table("cola.tsv", 0, 6, 0, "gj04\t1\t\tA sentence.\ngj04\t0\t*\tSentence a.\n")

VOCABULARY = "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\na\nb\n##a\nun\n##able\n!\n"
added = {"content": "<x>", "special": False, "normalized": True, "lstrip": True, "rstrip": True, "single_word": True}
seed("tokenizer", "vocab", b"\x00" + VOCABULARY.encode())
seed("tokenizer", "vocab-twice", b"\x00" + (VOCABULARY + "a\n").encode())
seed("tokenizer", "vocab-crlf", b"\x00" + VOCABULARY.replace("\n", "\r\n").encode())
seed("tokenizer", "tokenizer-json", b"\x01" + json.dumps({
    "version": "1.0", "added_tokens": [{"id": 0, **added}],
    "normalizer": {"type": "BertNormalizer", "clean_text": True, "handle_chinese_chars": True, "strip_accents": None, "lowercase": True},
    "pre_tokenizer": {"type": "BertPreTokenizer"},
    "post_processor": {"type": "TemplateProcessing", "single": [], "pair": [], "special_tokens": {}},
    "model": {"type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##", "max_input_chars_per_word": 100,
              "vocab": {t: i for i, t in enumerate(VOCABULARY.split())}}}).encode())
seed("tokenizer", "tokenizer-config", b"\x02" + json.dumps({
    "do_lower_case": True, "strip_accents": None, "tokenize_chinese_chars": False, "model_max_length": 512, "tokenizer_class": "BertTokenizer",
    "truncation_side": "left", "unk_token": "[UNK]", "added_tokens_decoder": {"0": {**added, "content": "[PAD]"}, "30": added}}).encode())
seed("tokenizer", "special-map", b"\x03" + json.dumps({"cls_token": "[CLS]", "mask_token": {**added, "content": "[MASK]"},
                                                        "additional_special_tokens": ["<a>", {**added, "content": "<b>"}]}).encode())
seed("tokenizer", "added", b"\x04" + json.dumps({"<new>": 11, "<newer>": 12}).encode())
seed("tokenizer", "config", b"\x05" + json.dumps({"model_type": "bert", "tokenizer_class": "PreTrainedTokenizerFast"}).encode())
seed("tokenizer", "text", b"\x06" + "Unable [MASK]unable! café 中文 a\u0301\u200d\ufffd\U0001f600\tb".encode())
seed("tokenizer", "text-bad-utf8", b"\x06a\xf0\x9f\x98 \xc0\x80 b")

seed("bert_config", "small", (ROOT / "tests/fixtures/parity/tiny_bert/config.json").read_bytes())
seed("bert_config", "labels", json.dumps({"model_type": "bert", "id2label": {"0": "no", "1": "yes"}, "label2id": {"no": 0, "yes": 1}}))
seed("bert_config", "regression", json.dumps({"model_type": "bert", "num_labels": 1, "problem_type": "regression"}))
seed("bert_config", "absurd", json.dumps({"model_type": "bert", "hidden_size": 1 << 62, "num_attention_heads": -1, "num_labels": 1 << 40}))
seed("bert_config", "wrong-types", '{"model_type": "bert", "hidden_size": "768", "hidden_dropout_prob": null}')


def safetensors(header, data):
    text = (header if isinstance(header, str) else json.dumps(header)).encode()
    return struct.pack("<Q", len(text)) + text + data


two = {"__metadata__": {"format": "pt"}, "a": {"dtype": "F32", "shape": [2, 2], "data_offsets": [0, 16]},
       "b": {"dtype": "BF16", "shape": [3], "data_offsets": [16, 22]}}
seed("safetensors", "two", safetensors(two, bytes(22)))
seed("safetensors", "empty-tensor", safetensors({"a": {"dtype": "I64", "shape": [0, 4], "data_offsets": [0, 0]}}, b""))
seed("safetensors", "scalar", safetensors({"a": {"dtype": "U8", "shape": [], "data_offsets": [0, 1]}}, b"\x01"))
seed("safetensors", "huge-shape", safetensors({"a": {"dtype": "F64", "shape": [1 << 40, 1 << 40], "data_offsets": [0, 8]}}, bytes(8)))
seed("safetensors", "overlap", safetensors({"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]},
                                            "b": {"dtype": "F32", "shape": [2], "data_offsets": [4, 12]}}, bytes(12)))
seed("safetensors", "huge-header", struct.pack("<Q", 1 << 63) + b"{}")
seed("safetensors", "short", b"\x02\x00")

for path in sorted((ROOT / "examples/plans").glob("*.toml")):
    text = path.read_text()
    seed("configuration", path.stem, "\n".join(line for line in text.split("\n") if not line.startswith("manifest")))
seed("configuration", "stages", """max_steps = 40
learning_rate = 1.0
lr_scheduler_type = "one_cycle"
pct_start = 0.3
[groups]
policy = "layer-decay"
decay = 0.9
no_decay = ["**.bias", "re:.*embeddings.*"]
[[stage]]
length = "10%"
freeze_to = -1
slice = 0.1
[[stage]]
length = "10u"
groups = ["layer_*", "head"]
schedule = "step"
step_size = 3
warmup_steps = 0
on_unfreeze = "reset"
[[stage]]
slice = [1e-5, 1e-3]
schedule = "cosine"
warmup_ratio = 0.1
""")
seed("configuration", "rules", """optim = "sgd"
momentum = 0.9
nesterov = true
max_steps = 1
[[group]]
name = "below"
match = ["bert.embeddings.**", "re:bert\\\\.encoder\\\\..*"]
multiplier = 0
[[group]]
name = "above"
match = ["bert.pooler.*.{weight,bias}", "classifier.**"]
weight_decay = 0.1
""")
seed("configuration", "gradual", 'max_steps = 9\n[groups]\npolicy = "prefix_decay"\ndepth = 2\n[gradual]\neach = "1u"\n')
seed("configuration", "fine-tune", "num_train_epochs = 3\nlayer_decay = 0.5\n[fine_tune]\nfreeze_epochs = 1\nlr_mult = 10\ndiv = 3\n")
seed("configuration", "wrong-types", 'seed = "7"\nlearning_rate = true\n[groups]\ndecay = [1]\n[[stage]]\nlength = 1\n')
seed("configuration", "dates", "learning_rate = 1979-05-27T07:32:00Z\nno_decay = [[], {a = 1}]\n")

seed("manifest", "bert", "".join(line + "\n" for line in (ROOT / "examples/plans/bert_base.manifest").read_text().split("\n")[:24]))
seed("manifest", "resnet", (ROOT / "examples/plans/resnet18.manifest").read_text())
seed("manifest", "wrong", "a.b\t3x0\n#\n\na..b\t2\nc\t99999999999999999999\nd\t4294967296x4294967296x4\n")

seed("checkpoint", "checksums", b"\x00" + json.dumps({"files": {"trainer_state.json": {"bytes": 3, "xxh3": "0" * 16}, "../../etc/passwd": {"bytes": 1, "xxh3": ""},
                                                           "state.h5": {"bytes": 1 << 62, "structure_xxh3": "1" * 16, "datasets": [
                                                               {"name": "/groups/a/master", "offset": 0, "bytes": 1 << 62, "xxh3": "2" * 16}]}},
                                                 "files_xxh3": "3" * 16}, indent=2, sort_keys=True).encode())
seed("checkpoint", "state", b"\x02\x89HDF\r\n\x1a\n" + bytes(64))
seed("checkpoint", "trainer-state", b'\x01{"global_step": 1}\n')
seed("checkpoint", "progress", b"\x03" + json.dumps({"step": 3, "global_batch_size": 8, "loss_sum": 1.5, "samples": 24, "tokens": 99, "skipped_steps": 0,
                                                 "unlogged_steps": 1, "unlogged_loss_sum": 0.5, "log_history": [{"step": 1}]}).encode())


def idx(type_byte, shape, data):
    return bytes([0, 0, type_byte, len(shape)]) + b"".join(struct.pack(">I", extent) for extent in shape) + data


seed("idx", "images", idx(8, [2, 3, 3], bytes(range(18))))
seed("idx", "labels", idx(8, [4], bytes([0, 1, 9, 2])))
seed("idx", "floats", idx(13, [1, 2, 2], struct.pack(">4f", 0.5, -1.0, float("nan"), 3e38)))
seed("idx", "gzipped", gzip.compress(idx(8, [3, 2, 2], bytes(12)), mtime=0))
seed("idx", "huge", idx(8, [0xFFFFFFFF, 0xFFFFFFFF], bytes(8)))
seed("idx", "many-dimensions", idx(8, [1] * 9, b"\x01"))
seed("idx", "short", idx(8, [10, 10], bytes(5)))
seed("idx", "int32", idx(12, [1], bytes(4)))


def state(name, groups, train="{}", chunked=False):
    """state.h5 as dist/state_file.h lays it out: groups = {name: ({parameter: shape}, kinds, attributes that differ)}."""
    import h5py
    import numpy
    import xxhash

    path = HERE / "corpus" / "state" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    text = lambda words: numpy.bytes_(words.encode() + b"\0")
    with h5py.File(path, "w", libver=("v108", "v108")) as file:
        for key, value in {"format": text("strata-state"), "version": 1, "step": 7, "epoch": 1.5, "world_size": 2, "stage": text("train"),
                           "plan_hash": numpy.uint64(5), "update_hash": numpy.uint64(6), "effective_config": text("seed = 1\n"),
                           "provenance": text("{}"), "model_fingerprint": text("00ff")}.items():
            file.attrs[key] = value
        file.create_dataset("train", data=text(train))
        rows = []
        for index, (group_name, (parameters, kinds, others)) in enumerate(groups.items()):
            group = file.create_group("groups/" + group_name)
            sizes = [int(numpy.prod(shape, dtype=numpy.int64)) for shape in parameters.values()]
            attributes = {"name": text(group_name), "index": index, "elements": sum(sizes), "step": 7, "frozen": 0, "multiplier": 0.5,
                          "learning_rate": 1e-4, "weight_decay": 0.01, "beta1": 0.9, "beta2": 0.999, "epsilon": 1e-8, **others}
            for key, value in attributes.items():
                group.attrs[key] = value
            members = [(key.encode(), sum(sizes[:i]), sizes[i], "x".join(map(str, shape)).encode() or b"scalar", 1)
                       for i, (key, shape) in enumerate(parameters.items())]
            group.create_dataset("members", data=numpy.array(members, dtype=[("name", "S16"), ("offset", "<u8"), ("elements", "<u8"),
                                                                             ("shape", "S8"), ("decays", "<u8")]))
            for kind in kinds:
                values = numpy.arange(sum(sizes), dtype="<f4")
                group.create_dataset(kind, data=values, chunks=(1,) if chunked else None)
                rows.append((f"/groups/{group_name}/{kind}".encode(), 0, sum(sizes), xxhash.xxh3_64_intdigest(values.tobytes())))
        file.create_dataset("checksums", data=numpy.array(rows, dtype=[("dataset", "S40"), ("offset", "<u8"), ("length", "<u8"), ("hash", "<u8")]))


KINDS = ["master", "exp_avg", "exp_avg_sq"]
try:
    state("two-groups", {"body": ({"body.weight": [4, 3], "body.bias": [3]}, KINDS, {}), "head": ({"head.weight": [2, 3]}, KINDS[:1], {"frozen": 1})})
    state("scalar-and-empty", {"one": ({"scale": []}, KINDS, {}), "none": ({"nothing": [0, 4]}, [], {})})
    state("twice", {"a": ({"w": [2]}, KINDS, {}), "b": ({"w": [2]}, KINDS, {})})
    state("wrong-elements", {"a": ({"w": [2]}, KINDS, {"elements": 1 << 40})})
    state("chunked", {"a": ({"w": [4]}, KINDS, {})}, chunked=True)
    state("many", {f"g{i}": ({f"p{i}": [2]}, KINDS, {}) for i in range(12)})
except ImportError as error:
    print("seeds of state.h5 are left as they are:", error)
