"""The benchmark of search on a market of two hundred: it asks every kind of question, and says what there was to search."""

from benchmarks import search


def test_the_benchmark_runs_small(fresh_database):
    told = []
    found = search.run(told.append, offerings=200, reservations=2_000, each=2)
    assert (found["offerings"], found["reservations"]) == (200, 2_000)
    assert found["slots"] > 2_000
    assert list(found["by_kind"]) == list(search.KINDS)
    assert 0 < found["p50_ms"] <= found["p95_ms"]
