"""A client that waits for a processor itself does not know what a server held back, and accuses nobody."""

from __future__ import annotations

from dataclasses import replace

import pytest

from probes.serve.checks.expectations import NotApplicable
from probes.serve.checks.streams import Moment


def test_most_of_the_time_without_a_processor_is_not_known() -> None:
    began = replace(Moment.now(), at_s=Moment.now().at_s - 1.0)  # a second ago
    starved = replace(began, queued_s=began.queued_s - 0.7)
    with pytest.raises(
        NotApplicable, match=r"not known: the client itself waited for a processor for 7\d\d of 1\d\d\d ms"
    ):
        starved.expect_a_processor()


def test_a_client_that_ran_in_time_says_what_it_saw() -> None:
    began = replace(Moment.now(), at_s=Moment.now().at_s - 1.0)
    replace(began, queued_s=began.queued_s - 0.2).expect_a_processor()
