import cProfile, pstats
from tests.support.vault import build
def test_a(database, tmp_path):
    p=cProfile.Profile(); p.enable()
    build(tmp_path/"h", database)
    p.disable(); pstats.Stats(p).sort_stats("cumtime").print_stats(45)
