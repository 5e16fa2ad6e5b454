"""What of a store is derived from its scans, and what to do where a part of the store is damaged."""

from __future__ import annotations

from npczarr.model.schema import MEASURES
from npczarr.model.training import TRAINING

_AGAIN = {
    "score": "npczarr score STORE PREDICTIONS",
    TRAINING: "npczarr resample with --for training",
}


def is_derived(path: str) -> bool:
    """Whether a group or an array of a store is a result, which can be made again from the scans.

    >>> is_derived("score/unet/dice"), is_derived("training"), is_derived("review/mark"), is_derived("status")
    (True, True, False, False)
    """
    return path.partition("/")[0] in (*MEASURES, TRAINING)


def command_of(path: str) -> str:
    """Return the command that makes a result, and makes it anew where it is damaged.

    >>> command_of("morphology/volume"), command_of("score/unet")
    ('npczarr morphology STORE', 'npczarr score STORE PREDICTIONS --name unet')
    """
    measure, _, rest = path.partition("/")
    command = _AGAIN.get(measure, f"npczarr {measure} STORE")
    return f"{command} --name {rest.partition('/')[0]}" if measure == "score" and rest else command


def advice_for(path: str) -> str:
    """Say what to do where an array of a store, such as ``"morphology/volume"``, is damaged."""
    if is_derived(path):
        return f"{path.partition('/')[0]} is a result: run `{command_of(path)}` again, which measures it anew"
    if path.startswith("review/"):
        return "restore the folder review from a copy, or delete it and review anew"
    return "restore it from a copy, or convert into a new store"
