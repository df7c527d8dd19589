"""What stands before the body of a 202 is made once a second, and is what each would have been given for itself."""

from __future__ import annotations

import time
from collections.abc import Mapping
from email.utils import formatdate

from services.lane import Lane
from services.traffic import Traffic
from tests.services.echo import Echo


class Plain(Echo):
    """Without headers of its own."""

    def headers(self) -> Mapping[str, str]:
        return {}


async def test_an_answers_head_has_its_length_and_the_second_in_which_it_was_made() -> None:
    lane = Lane(Plain(), Traffic())
    dates: set[str] = set()
    while len(dates) < 2:
        for body in (b"", b"{}", b'{"a":1}', b'{"b":2}'):
            began_s = int(time.time())
            said = lane.said(body)
            moments = [formatdate(at_s, usegmt=True) for at_s in range(began_s, int(time.time()) + 1)]
            head = f"HTTP/1.1 202 Accepted\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\nDate: "
            wanted = {date: f"{head}{date}\r\n\r\n".encode() + body for date in moments}
            assert said in wanted.values()
            dates |= {date for date, text in wanted.items() if text == said}
