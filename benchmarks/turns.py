"""Sides that take turns in one process: time of each, by the clock and of the processor, and ratios turn by turn."""

import statistics
import time


def seconds(call):
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def in_turns(sides, turns):
    """(seconds, processor seconds of all threads) of each side, turn by turn, after one turn that does not count."""
    found = {side: [] for side in sides}
    for turn in range(turns + 1):
        for side, call in sides.items():
            used = time.process_time()
            taken = seconds(call)
            if turn:
                found[side].append((taken, time.process_time() - used))
    return found


def ratios(found, side, base):
    """Return the medians over the turns of a side's times by those of another side in the same turn."""
    pairs = list(zip(found[side], found[base], strict=True))
    return tuple(statistics.median(s[i] / b[i] if b[i] else float("nan") for s, b in pairs) for i in (0, 1))


def tell(found, base, aims=None):
    """Print the median of each side, its ratios to the base, and whether the clock's is within what is aimed at."""
    for side, times in found.items():
        clock, used = ratios(found, side, base)
        aim = (aims or {}).get(side)
        verdict = "" if aim is None else f"   aim {aim:g}: {'met' if clock <= aim else 'MISSED'}"
        median = statistics.median(taken for taken, _ in times) * 1e3
        print(f"  {side:46} {median:9.1f} ms  {clock:6.2f} x {base} (processor {used:5.2f} x){verdict}", flush=True)
