"""``session.run`` and nothing else, in the image's own Python: what no server on that onnxruntime can pass.

    python3 session_loop.py MODEL THREADS SECONDS

The request is ``inputs.npz`` beside this file. Says as JSON what came out, how many runs, in which time, at which cost.
"""

import json
import sys
import threading
import time
from pathlib import Path

import numpy as np
import onnxruntime


def main() -> None:
    model, threads, seconds = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    feeds = dict(np.load(Path(__file__).with_name("inputs.npz")))
    answers = session.run(None, feeds)
    counts = [0] * threads

    def loop(number: int, end: float) -> None:
        while time.perf_counter() < end:
            session.run(None, feeds)
            counts[number] += 1

    began, cpu = time.perf_counter(), time.process_time()
    workers = [threading.Thread(target=loop, args=(number, began + seconds)) for number in range(threads)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    said = {
        "outputs": {each.name: got.tolist() for each, got in zip(session.get_outputs(), answers, strict=True)},
        "runs": sum(counts),
        "seconds": time.perf_counter() - began,
        "cpu_seconds": time.process_time() - cpu,
    }
    print(json.dumps(said))


main()
