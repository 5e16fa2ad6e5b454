"""Ctrl-C: processes that ignore it for good, and a moment in which it has to wait. SIGTERM ends a command likewise."""

import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

import npczarr
from npczarr import ctrl_c
from npczarr.cli import entry

HANDLER = "import signal; print(signal.getsignal(signal.SIGINT).name)"


@pytest.fixture(autouse=True)
def handler():
    """The handler of a program in a terminal, also where the tests run in the background."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def test_what_is_started_in_the_block_ignores_it_and_this_process_does_not():
    with ctrl_c.ignored():
        signal.raise_signal(signal.SIGINT)
        started = subprocess.run([sys.executable, "-c", HANDLER], capture_output=True, text=True, check=True)
    assert started.stdout == "SIG_IGN\n"
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)


def press_in_block(presses, reached, error=None, **patience):
    """Press Ctrl-C in a block that defers it, note which did not raise, and leave it, or raise an error."""
    with ctrl_c.deferred(**patience):
        for press in range(presses):
            signal.raise_signal(signal.SIGINT)
            reached.append(press)
        if error is not None:
            raise error


def test_it_waits_for_the_end_of_the_block_however_often_it_is_pressed():
    reached = []
    with pytest.raises(KeyboardInterrupt):
        press_in_block(3, reached)
    assert reached == [0, 1, 2]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_once_patience_has_ended_it_does_not_wait():
    reached = []
    with pytest.raises(KeyboardInterrupt):
        press_in_block(3, reached, patience=0)
    assert reached == [0]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_an_error_in_the_block_is_not_replaced():
    with pytest.raises(ZeroDivisionError):
        press_in_block(1, [], ZeroDivisionError())


@pytest.mark.parametrize("block", [ctrl_c.ignored, ctrl_c.deferred])
def test_threads_other_than_the_main_one_change_nothing(block):
    def inside():
        with block():
            ctrl_c.ignore()
            return signal.getsignal(signal.SIGINT)

    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(inside).result() is signal.default_int_handler


def test_the_import_behind_a_public_name_is_not_left_half_done(monkeypatch):
    imported = []

    def slow_import(name):
        signal.raise_signal(signal.SIGINT)
        imported.append(name)

    monkeypatch.setattr(npczarr, "_imported", slow_import)
    with pytest.raises(KeyboardInterrupt):
        npczarr.__getattr__("convert")  # as of the first time that the name is used
    assert imported == ["convert"]


def ended_by_sigterm(monkeypatch, command):
    """The exit code of the program with this command."""
    monkeypatch.setattr(entry, "app", command)
    monkeypatch.setattr(sys, "argv", ["npczarr", "--help"])
    with pytest.raises(SystemExit) as ended:
        entry.main()
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    return ended.value.code


@pytest.mark.parametrize("at_ctrl_c", [signal.default_int_handler, signal.SIG_IGN], ids=["terminal", "background"])
def test_sigterm_ends_a_command_which_cleans_up(monkeypatch, at_ctrl_c):
    signal.signal(signal.SIGINT, at_ctrl_c)
    done = []

    def command():
        try:
            signal.raise_signal(signal.SIGTERM)
            done.append("went on")
        finally:
            signal.raise_signal(signal.SIGTERM)  # as `timeout` sends it twice
            done.append("cleaned up")

    assert ended_by_sigterm(monkeypatch, command) == 143
    assert done == ["cleaned up"]


def test_sigterm_waits_where_ctrl_c_does(monkeypatch):
    reached = []

    def command():
        with ctrl_c.deferred():
            signal.raise_signal(signal.SIGTERM)
            reached.append(1)
        reached.append(2)

    assert ended_by_sigterm(monkeypatch, command) == 143
    assert reached == [1]


SECOND = """
import os, signal, sys
from npczarr.cli import entry

def command():
    if sys.argv[1] == "forked" and os.fork():
        print(os.waitstatus_to_exitcode(os.wait()[1]), flush=True)
        return
    try:
        signal.raise_signal(signal.SIGTERM)
    finally:
        signal.raise_signal(signal.SIGTERM)
        print("went on", flush=True)

entry._TWICE_SECONDS = 0
entry.app = command
entry.main()
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="signals of POSIX")
@pytest.mark.parametrize(("who", "code", "said"), [("alone", -signal.SIGTERM, ""), ("forked", 0, "-15\n")])
def test_a_second_sigterm_ends_it_at_once_and_the_first_a_process_that_it_forked(who, code, said):
    done = subprocess.run([sys.executable, "-c", SECOND, who], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (code, said)
