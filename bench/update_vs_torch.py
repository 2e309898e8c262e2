#!/usr/bin/env python3
"""Times the fused AdamW against torch.optim.AdamW(fused=True), and both against a triad of the same bytes.

    ninja -C build update_speed
    python bench/update_vs_torch.py [--elements 22713216 109483778] [--groups 1 28] [--threads 1 2]
                                    [--rounds 5] [--out results.json]

For each number of elements, groups and threads, in turns: one update of strata's (build/bench/update_speed), which also
times a triad a = b + s * c over arrays that together move as many bytes as AdamW does (28 an element: parameter and both
moments in and out, gradient in), and the same in place (a = a + s * b, which like AdamW writes only what it has read, so no
line is fetched in vain); and torch's on the same number of fp32 tensors, one a group, each group with its own
rate. Each side twice: the update alone, and clipped, with the gradients' global norm and the clipping to it, which every
step of a training has by default (torch.nn.utils.clip_grad_norm_; ours scales gradients as it reads them). Of each the
least of a round's updates. Needs torch.
"""
import argparse
import json
import os
import subprocess
import sys

from record import ROOT, Record, load, ratio_text, ratios, spread

UPDATES = 20


class Peer:
    """Keeps its arrays between rounds; one line in, the milliseconds of its updates out."""

    def __init__(self, command, threads):
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                                        env={**os.environ, "OMP_NUM_THREADS": str(threads)})

    def round(self):
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            sys.exit(self.process.wait() or 1)
        return json.loads(line)

    def close(self):
        self.process.stdin.close()
        self.process.wait()


def torch_rounds(setting):
    import time

    import torch
    torch.set_num_threads(setting["threads"])
    groups, elements = setting["groups"], setting["elements"]
    sizes = [elements // groups + (1 if i < elements % groups else 0) for i in range(groups)]
    parameters = [torch.nn.Parameter(torch.rand(size)) for size in sizes]
    for parameter in parameters:
        parameter.grad = torch.full_like(parameter, 1e-3)
    optimizer = torch.optim.AdamW([{"params": [p], "lr": 1e-5 * (1 + i)} for i, p in enumerate(parameters)],
                                  weight_decay=0.01, fused=True)
    optimizer.step()

    def clipped():
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()

    def least(update):
        times = []
        for _ in range(UPDATES):
            began = time.perf_counter()
            update()
            times.append(1e3 * (time.perf_counter() - began))
        return min(times)

    for _ in sys.stdin:
        print(json.dumps({"update_ms": least(optimizer.step), "clipped_ms": least(clipped)}), flush=True)


def compare(options, elements, groups, threads):
    setting = {"elements": elements, "groups": groups, "threads": threads}
    strata = Peer([options.program, str(elements), str(groups), str(UPDATES)], threads)
    torch = Peer([sys.executable, __file__, "--peer", json.dumps(setting)], threads)
    loads, ours, theirs = [], [], []
    for _ in range(options.rounds):
        loads.append(load())
        ours.append(strata.round())
        theirs.append(torch.round())
    strata.close()
    torch.close()
    of = lambda rounds, name: [measured[name] for measured in rounds]
    update, clipped, triad, in_place = (of(ours, k) for k in ("update_ms", "clipped_ms", "triad_ms", "in_place_ms"))
    return {**setting, "strata_ms": spread(update), "strata_clipped_ms": spread(clipped),
            "torch_ms": spread(of(theirs, "update_ms")), "torch_clipped_ms": spread(of(theirs, "clipped_ms")),
            "triad_ms": spread(triad), "in_place_ms": spread(in_place), "load": loads,
            "torch_over_strata": ratios(of(theirs, "update_ms"), update),
            "torch_over_strata_clipped": ratios(of(theirs, "clipped_ms"), clipped),
            "strata_over_triad": ratios(update, triad), "strata_over_in_place": ratios(update, in_place)}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--elements", type=int, nargs="+", default=[22713216, 109483778], help="MiniLM-L6 and BERT-base")
    parser.add_argument("--groups", type=int, nargs="+", default=[1, 28])
    parser.add_argument("--threads", type=int, nargs="+", default=[1, len(os.sched_getaffinity(0))])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--program", default=str(ROOT / "build/bench/update_speed"))
    parser.add_argument("--out")
    parser.add_argument("--peer", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.peer:
        return torch_rounds(json.loads(options.peer))
    record = Record("torch")
    rows = []
    for elements in options.elements:
        for groups in options.groups:
            for threads in dict.fromkeys(options.threads):
                row = compare(options, elements, groups, threads)
                rows.append(row)
                print(f"{elements:,} elements in {groups} group(s), {threads} thread(s): strata {row['strata_ms']['median']:.1f} ms, "
                      f"torch {row['torch_ms']['median']:.1f} ms, triad {row['triad_ms']['median']:.1f} ms; strata is "
                      f"{ratio_text(row['torch_over_strata'])} torch's speed, clipped "
                      f"{ratio_text(row['torch_over_strata_clipped'])}, and takes "
                      f"{ratio_text(row['strata_over_triad'])} the triad's time, {ratio_text(row['strata_over_in_place'])} "
                      f"of that in place", flush=True)
    record.write(options.out, rows=rows)


if __name__ == "__main__":
    main()
