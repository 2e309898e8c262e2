#!/usr/bin/env python3
"""Times saving and resuming a state of BERT-large's size against torch.distributed.checkpoint, side by side.

    ninja -C build checkpoint_cost
    python bench/resume_vs_dcp.py [--ranks 1 2 4] [--megabytes 4020] [--rounds 3] [--folder FOLDER] [--out FILE]

335.1 M parameters of fp32 weights and two moments are 4,020 MB. For each number of ranks and in each round one program after
the other, on the same disk: strata (checkpoint_cost resume) and a gloo job of as many processes whose 36 tensors are
DTensors sharded over them. A strata checkpoint is read back, hashed and synced when saved, and verified whole and hashed
again when loaded; torch's is neither. Files come from the page cache where it holds them, for both.
"""
import argparse
import datetime
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time


def peer(folder, megabytes):
    import torch
    import torch.distributed as dist
    import torch.distributed.checkpoint as dcp
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.tensor import DTensor, Shard

    dist.init_process_group("gloo")
    torch.set_num_threads(1)
    mesh = init_device_mesh("cpu", (dist.get_world_size(),))
    part = megabytes * 1_000_000 // 4 // 36 // dist.get_world_size()
    state = {f"layer_{i}.{kind}": DTensor.from_local(torch.full((part,), 0.5 + i), mesh, [Shard(0)])
             for i in range(12) for kind in ("master", "exp_avg", "exp_avg_sq")}

    def timed(work):
        dist.barrier()
        began = time.perf_counter()
        work()
        dist.barrier()
        return (time.perf_counter() - began) * 1e3

    saved = timed(lambda: dcp.save(state, checkpoint_id=folder))
    loaded = timed(lambda: dcp.load(state, checkpoint_id=folder))
    if dist.get_rank() == 0:
        print(json.dumps({"save": [saved], "load": [loaded], "torch": torch.__version__}))
    dist.destroy_process_group()


def last_object(command, **more):
    done = subprocess.run(command, capture_output=True, text=True, **more)
    lines = [line for line in done.stdout.splitlines() if line.startswith("{")]
    if done.returncode or not lines:
        sys.exit(f"{' '.join(command)}\n{done.stdout}{done.stderr}")
    return json.loads(lines[-1])


def summary(values):
    return {"median": round(statistics.median(values)), "least": round(min(values)), "most": round(max(values))}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--peer", nargs=2, help=argparse.SUPPRESS)
    parser.add_argument("--ranks", nargs="*", type=int, default=[1, 2, 4])
    parser.add_argument("--megabytes", type=int, default=4020)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--folder", default=None)
    parser.add_argument("--out", default=None)
    args = parser.parse_args()
    if args.peer:
        return peer(args.peer[0], int(args.peer[1]))
    env = dict(os.environ, OMP_NUM_THREADS="1")
    results = []
    for ranks in args.ranks:
        ours = {"save": [], "verify": [], "load": []}
        theirs = {"save": [], "load": []}
        for _ in range(args.rounds):
            scratch = tempfile.mkdtemp(dir=args.folder)
            try:
                got = last_object(["mpirun", "--allow-run-as-root", "--oversubscribe", "--bind-to", "none", "-np", str(ranks),
                                   "build/bench/checkpoint_cost", "resume", scratch, str(args.megabytes // ranks), "1"], env=env)
                for key in ours:
                    ours[key] += got[key]
                shutil.rmtree(scratch)
                got = last_object([sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", str(ranks), __file__,
                                   "--peer", scratch, str(args.megabytes)], env=env)
                for key in theirs:
                    theirs[key] += got[key]
            finally:
                shutil.rmtree(scratch, ignore_errors=True)
        resume = [a + b for a, b in zip(ours["verify"], ours["load"])]
        row = {"ranks": ranks, "strata": {**{key: summary(ours[key]) for key in ours}, "resume": summary(resume)},
               "torch.distributed.checkpoint": {key: summary(theirs[key]) for key in theirs},
               "load, theirs over ours": summary_ratio(theirs["load"], ours["load"]),
               "resume, theirs over ours": summary_ratio(theirs["load"], resume),
               "save, theirs over ours": summary_ratio(theirs["save"], ours["save"])}
        print(json.dumps(row), flush=True)
        results.append(row)
    if args.out:
        with open(args.out, "w") as file:
            json.dump({"date": str(datetime.date.today()), "command": " ".join(sys.argv), "megabytes": args.megabytes,
                       "rounds": args.rounds, "torch": got["torch"], "python": platform.python_version(),
                       "cores": os.cpu_count(),
                       "commit": subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True).stdout.strip(),
                       "milliseconds": results}, file, indent=1)


def summary_ratio(theirs, ours):
    ratios = [a / b for a, b in zip(theirs, ours)]
    return {"median": round(statistics.median(ratios), 2), "least": round(min(ratios), 2), "most": round(max(ratios), 2)}


if __name__ == "__main__":
    main()
