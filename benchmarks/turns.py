"""Sides that take turns in one process: seconds of each, and ratios turn by turn."""

import statistics
import time


def seconds(call):
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def in_turns(sides, turns):
    """Seconds of each side, turn by turn, after one turn that does not count."""
    found = {side: [] for side in sides}
    for turn in range(turns + 1):
        for side, call in sides.items():
            taken = seconds(call)
            if turn:
                found[side].append(taken)
    return found


def ratio(found, side, base):
    """Median over the turns of a side's time by that of another side in the same turn."""
    return statistics.median(s / b for s, b in zip(found[side], found[base], strict=True))


def tell(found, base, aims=None):
    """Print the median of each side, its ratio to the base, and whether it is within what is aimed at."""
    for side, times in found.items():
        times_base = ratio(found, side, base)
        aim = (aims or {}).get(side)
        verdict = "" if aim is None else f"   aim {aim:g}: {'met' if times_base <= aim else 'MISSED'}"
        print(f"  {side:44} {statistics.median(times) * 1e3:9.1f} ms   {times_base:6.2f} x {base}{verdict}", flush=True)
