import threading
import time

import pytest

from realgrain.detector.ahead import AHEAD, ahead
from realgrain.detector.runtime import cores


def test_order():
    def job(number):
        time.sleep(0.01 * (number % 3))
        return number

    assert list(ahead((lambda n=n: job(n)) for n in range(40))) == list(range(40))


def test_nothing():
    assert list(ahead([])) == []


def test_draws_and_keeps_no_more_than_it_says():
    drawn, running, most = [], [0], [0]
    lock = threading.Lock()

    def job():
        with lock:
            running[0] += 1
            most[0] = max(most[0], running[0])
        time.sleep(0.001)
        with lock:
            running[0] -= 1

    def endless():
        while True:
            drawn.append(1)
            yield job

    results = ahead(endless())
    for read in range(1, 30):
        next(results)
        assert len(drawn) <= AHEAD * cores() + read
    results.close()
    assert most[0] <= cores()


@pytest.mark.parametrize("threads", [1, 3])
def test_threads_as_asked(threads):
    begun = []

    def job():
        begun.append(threading.current_thread().name)
        end = time.monotonic() + 10
        while len(set(begun)) < threads and time.monotonic() < end:  # a machine under load may be long in starting a thread
            time.sleep(0.001)

    results = ahead((job for _ in range(100)), threads)
    next(results)
    results.close()
    assert len(set(begun)) == threads
    assert len(begun) <= AHEAD * threads + 1


def test_runs_while_its_reader_works():
    done = []
    results = ahead((lambda n=n: done.append(n)) for n in range(AHEAD * cores()))
    next(results)
    for _ in range(200):
        time.sleep(0.01)
        if len(done) == AHEAD * cores():
            break
    assert sorted(done) == list(range(AHEAD * cores()))


def test_an_error_comes_where_its_result_would():
    def fails():
        raise RuntimeError("third")

    results = ahead([lambda: 1, lambda: 2, fails, lambda: 4])
    assert [next(results), next(results)] == [1, 2]
    with pytest.raises(RuntimeError, match="third"):
        next(results)


def test_leaves_no_thread_behind():
    results = ahead(iter(lambda: lambda: 1, None))
    next(results)
    results.close()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("realgrain-ahead")]
