"""Which of all topics are recorded."""

from __future__ import annotations

import re
from dataclasses import field
from typing import Annotated

from pydantic import AfterValidator
from pydantic.dataclasses import dataclass

from robot_learning.config import STRICT


def _pattern(text: str) -> str:
    try:
        re.compile(text)
    except re.error as error:
        raise ValueError(f'is no regular expression ({error})') from error
    return text


Pattern = Annotated[str, AfterValidator(_pattern)]


@dataclass(frozen=True, config=STRICT)
class TopicChoice:
    """Topics beside those of the robot's contract."""

    names: list[str] = field(default_factory=list)  # As somebody would type them.
    all_topics: bool = False  # All that are not hidden.
    regex: Pattern = ''  # Topics in whose full name this is found; empty: none.
    exclude: Pattern = ''  # Never topics in whose full name this is found; empty: none excluded.

    def includes(self, topic: str) -> bool:
        """Tell whether a topic is chosen by `all_topics` or `regex`, and not excluded."""
        if self.excludes(topic):
            return False
        if self.regex and re.search(self.regex, topic):
            return True
        return self.all_topics and not is_hidden(topic)

    def excludes(self, topic: str) -> bool:
        """Tell whether a topic must not be recorded."""
        return bool(self.exclude and re.search(self.exclude, topic))


def is_hidden(topic: str) -> bool:
    """Tell whether a full name has a part that begins with an underscore, as those of actions."""
    return '/_' in topic
