"""The peer of update.cu: torch.optim.AdamW(fused=True) with the same parameters in the same groups. JSON out."""

import json
import statistics
import sys

import torch

WARM_UPS, ROUNDS = 5, 30
BYTES_PER_PARAMETER = 28


def groups_of(parameters, count):
    each = parameters // count // 64 * 64
    decaying = each - max(64, each // 128 // 64 * 64)
    options = []
    for g in range(count):
        size = parameters - g * each if g + 1 == count else each
        for decays, elements in ((True, decaying), (False, size - decaying)):
            tensor = torch.zeros(elements, device="cuda", requires_grad=True)
            tensor.grad = torch.zeros_like(tensor)
            options.append({"params": [tensor], "lr": 1e-5, "weight_decay": 0.01 if decays else 0.0})
    return options


def seconds_of(run):
    """The median, by the GPU's clock."""
    begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    times = []
    for i in range(WARM_UPS + ROUNDS):
        begin.record()
        run()
        end.record()
        end.synchronize()
        if i >= WARM_UPS:
            times.append(begin.elapsed_time(end) / 1000)
    return statistics.median(times)


def main():
    if not torch.cuda.is_available():
        sys.exit("update_torch.py: this PyTorch sees no GPU")
    updates = []
    for parameters in (110_000_000, 335_000_000):
        for count in (1, 14, 28, 62, 465):
            seconds = seconds_of(torch.optim.AdamW(groups_of(parameters, count), fused=True).step)
            rate = BYTES_PER_PARAMETER * parameters / seconds / 1e9
            updates.append({"parameters": parameters, "groups": count, "seconds": seconds, "gb_per_s": round(rate, 1)})
            torch.cuda.empty_cache()
    print(json.dumps({"torch": torch.__version__, "updates": updates}, indent=2))


if __name__ == "__main__":
    main()
