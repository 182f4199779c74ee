"""A model that repeats every statement it is shown."""

from __future__ import annotations

import json
import re
import threading

LINE = re.compile(r'^(\d+) .*?: (".*")$', re.MULTILINE)


def said(messages):
    """The numbered messages of an extraction's prompt, None for any other prompt."""
    text = next(message.text for message in messages if message.type == "human")  # not the plea to repair it
    if text.startswith("memories:"):
        return None
    shown = text.rpartition("messages:\n")[2] if text.startswith("earlier") else text
    return [(int(number), json.loads(quoted)) for number, quoted in LINE.findall(shown)]


class Repeater:
    """Makes a fact of every message. ``asked``: what each extraction was shown."""

    def __init__(self, *, poison=None, every=1):
        self.asked, self.decisions = [], 0
        self.poison, self.every = poison, every
        self.lock = threading.Lock()

    def __call__(self, messages):
        shown = said(messages)
        if shown is None:
            with self.lock:
                self.decisions += 1
            return {"decisions": []}
        with self.lock:
            self.asked.append([text for _, text in shown])
        if self.poison is not None and any(self.poison in text for _, text in shown):
            return "I would rather talk about something else."
        return {"facts": [{"text": text, "cites": [n]} for n, text in shown if n % self.every == 0]}

    @property
    def calls(self):
        return len(self.asked) + self.decisions


def texts(memory, user="u"):
    """Everything that is remembered, in alphabetical order; twice what is there twice."""
    found, cursor = [], None
    while True:
        page = memory.get_all(user_id=user, limit=1_000, cursor=cursor)
        found += [item.memory for item in page.results]
        cursor = page.next_cursor
        if cursor is None:
            return sorted(found)
