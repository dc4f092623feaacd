"""Ctrl-C ends work within a second; other threads go on meanwhile."""

import signal
import subprocess
import sys
import threading
import time

import pytest

import halftone

# Announces itself, works, and says what ended it. Whoever runs the tests in the background may have
# them ignore the signal, which programs inherit.
SCRIPT = """
import signal, sys, halftone
signal.signal(signal.SIGINT, signal.default_int_handler)
model, text, out = sys.argv[1:4]
{setup}
print("working", flush=True)
try:
    {work}
    print("ended", flush=True)
except KeyboardInterrupt:
    print("interrupted", flush=True)
"""

OPEN = "m = halftone.AutoModelForCausalLM.from_pretrained(model, context=1 << 18)"

WORK = {
    "quantize": (
        "",
        "halftone.quantize(model, out, grid='int4:g64', method='gptq', container='gptq', "
        "calibration=text, calibration_chunks=0, threads=1)",
    ),
    "convert": ("", "while True: halftone.convert(model, out + '.gguf')"),
    "generate": (OPEN, "m.generate('Once', max_new_tokens=1 << 18)"),
    "stream": (OPEN, "[t for t in m.generate('Once', max_new_tokens=1 << 18, stream=True)]"),
    "prompt": (OPEN, "m.generate([7] * 100_000, max_new_tokens=1)"),
    "logits": (OPEN, "m.logits([7] * 60_000)"),
    "evaluate": ("", "halftone.evaluate(model, text, threads=1)"),
    "bench": ("", "halftone.bench(model, prompt=60_000, threads=1)"),
    "imatrix": ("", "halftone.imatrix(model, text, out, context=4000, threads=1)"),
    "one chunk": ("", "halftone.evaluate(model, text, context=40_000, threads=1)"),
}


@pytest.fixture(scope="module")
def long_text(tmp_path_factory, text_file):
    path = tmp_path_factory.mktemp("text") / "long.txt"
    path.write_text(text_file.read_text() * 40)
    return path


def interrupt(setup, work, arguments):
    """Seconds from the signal to its exception."""
    script = SCRIPT.format(setup=setup, work=work)
    child = subprocess.Popen(
        [sys.executable, "-c", script, *map(str, arguments)], stdout=subprocess.PIPE, text=True
    )
    watch = threading.Timer(120, child.kill)
    watch.start()
    try:
        assert child.stdout.readline() == "working\n"
        time.sleep(0.5)
        sent = time.monotonic()
        child.send_signal(signal.SIGINT)
        assert child.stdout.readline() == "interrupted\n"
        return time.monotonic() - sent
    finally:
        watch.cancel()
        child.kill()
        child.communicate()


@pytest.mark.parametrize("what", WORK)
def test_ctrl_c_ends_work_within_a_second(what, tiny, long_text, tmp_path):
    # The best of three: others may keep the machine busy.
    latencies = []
    while not latencies or (min(latencies) >= 1 and len(latencies) < 3):
        latencies.append(interrupt(*WORK[what], (tiny, long_text, tmp_path / "out")))
    assert min(latencies) < 1
    assert not (tmp_path / "out").exists()


def test_a_handler_may_let_the_work_go_on(tiny, long_text):
    """Signals that are handled do not end it."""
    seen = []
    before = signal.signal(signal.SIGUSR1, lambda *_: seen.append(time.monotonic()))
    try:
        model = halftone.AutoModelForCausalLM.from_pretrained(tiny, context=1 << 14)
        timer = threading.Timer(0.2, signal.raise_signal, (signal.SIGUSR1,))
        timer.start()
        out = model.generate([7], max_new_tokens=6000)
        ended = time.monotonic()
    finally:
        timer.join()
        signal.signal(signal.SIGUSR1, before)
    assert out.shape == (1, 6001)
    assert seen
    assert seen[0] < ended


def test_other_threads_go_on_meanwhile(tiny):
    model = halftone.AutoModelForCausalLM.from_pretrained(tiny, threads=1)
    ticks, done = [], threading.Event()
    tokens = 1000

    def tick():
        while not done.is_set():
            ticks.append(time.monotonic())
            time.sleep(0.001)

    thread = threading.Thread(target=tick)
    thread.start()
    begin = end = time.monotonic()
    while end - begin < 0.3:
        tokens *= 2
        begin = time.monotonic()
        model.logits([7] * tokens)
        end = time.monotonic()
    done.set()
    thread.join()
    # With the lock held for the whole call there would be none.
    during = [t for t in ticks if begin + 0.02 < t < end - 0.02]
    assert len(during) > 20
