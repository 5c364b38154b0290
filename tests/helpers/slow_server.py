"""A server of the grader to which another import than Keras is slow, in a process of its own.

Started anew rather than copied from pytest's process, which has threads where TensorFlow is loaded:
a copy of a process with threads may wait for one that it does not have.
"""

import multiprocessing
import socket

from utils.exercises.grading import child

SLOW = ("colorsys",)


def serve(requests: socket.socket) -> None:
    """Serve until the other end of the requests is closed."""
    child._SLOW = SLOW
    child.Server(requests, slow=True).serve()


def started(requests: socket.socket) -> multiprocessing.Process:
    """Return the process that serves `requests`."""
    process = multiprocessing.get_context("spawn").Process(target=serve, args=(requests,))
    process.start()
    return process
