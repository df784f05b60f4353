"""A count that nothing proves: it is said, and a person may ask for another one."""

from dataclasses import replace

from controllers.api.dataset import Phase
from controllers.dataset import SIZE, JobState, decide
from tests.builders import at, good, job, observed, published


def test_a_doubt_is_counted_again_when_a_person_asks() -> None:
    """Once for each request; the load stays, and a doubt that is over makes it Ready."""
    doubted = at(Phase.READY).model_copy(update={"phase": Phase.SIZING})
    doubted = doubted.model_copy(
        update={"size": doubted.size.model_copy(update={"proved": False, "last_error": "2 failed paths"})}
    )
    seen = observed(status=doubted, **published())
    waiting = decide(seen)
    assert waiting.status is not None
    assert not waiting.children
    asked = replace(seen, status=waiting.status, meta=replace(seen.meta, retry="now"))

    decision = decide(asked)

    assert decision.status is not None
    assert (decision.status.size.attempt, decision.status.phase) == (doubted.size.attempt + 1, Phase.SIZING)
    (made,) = decision.children
    done = job(SIZE, JobState.SUCCEEDED, attempt=decision.status.size.attempt, result=good(SIZE))
    end = decide(replace(asked, status=decision.status, jobs=(done,))).status
    assert end is not None
    assert (end.phase, end.load.completion_time) == (Phase.READY, doubted.load.completion_time)
