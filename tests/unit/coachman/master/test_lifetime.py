from coachman.master.lifetime import Lifetime
from coachman.settings import ServerSettings
from coachman.state.scoreboard import Row
from coachman.state.states import Reason


def test_memory_counts_when_three_samples_in_a_row_are_over_the_limit() -> None:
    lifetime = Lifetime(ServerSettings(max_rss_mb=100), now=0.0)

    def asked(now: float, mebibytes: int, *, beat: float = 0.0, requests: int = 1) -> Reason | None:
        return lifetime.expired(Row(rss=mebibytes * 2**20, beat=beat or now, requests=requests), now)

    looks = [(1, 101), (2, 101), (3, 99), (4, 101), (5, 101)]
    assert [asked(now, mebibytes) for now, mebibytes in looks] == [None] * 5
    assert asked(5.5, 101) is None, "asked twice within a second: still two samples"
    assert asked(9.1, 101, beat=5) is None, "the worker has not moved since: no new sample"
    assert asked(9.2, 101, requests=0) is None, "it has served nothing: a successor would be no better"
    assert asked(9.3, 101) == Reason.RECYCLED_MEMORY


def test_requests_and_age_are_jittered_by_at_most_a_tenth() -> None:
    for _ in range(50):
        lifetime = Lifetime(ServerSettings(max_requests=1000, max_age_seconds=100), now=0.0)
        assert lifetime.expired(Row(requests=999), 99) is None
        assert lifetime.expired(Row(requests=1100), 0) == Reason.RECYCLED_REQUESTS
        assert lifetime.expired(Row(), 110) == Reason.RECYCLED_AGE


def test_without_limits_a_worker_lives_on() -> None:
    lifetime = Lifetime(ServerSettings(), now=0.0)

    assert lifetime.expired(Row(requests=10**9, rss=10**12), 10**9) is None
