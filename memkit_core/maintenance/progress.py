"""Progress of long work, as bars if somebody wants to see them."""

from __future__ import annotations

from types import TracebackType
from typing import Any


class Progress:
    """Counts the steps of long work. ``with`` it, so that no bar is left open.

    Args:
        show: Draw a bar per stage on standard error; otherwise nothing happens.
    """

    def __init__(self, *, show: bool = False) -> None:
        self._show = show
        self._bar: Any = None
        self._left: int | None = None

    def stage(self, name: str, total: int | None = None) -> None:
        """A new stage of about so many steps (None: nobody knows) begins; the one before it is done."""
        self._finish()
        self.close()
        if self._show:
            from tqdm.auto import tqdm

            self._bar, self._left = tqdm(total=total, desc=name, unit_scale=True), total

    def step(self, count: int = 1) -> None:
        """So many more steps are done."""
        if self._bar is not None:
            if self._left is not None:
                self._left -= count
                if self._left < 0:  # others write meanwhile
                    self._bar.total -= self._left
                    self._left = 0
            self._bar.update(count)

    def _finish(self) -> None:
        """The running stage is done, also if there were fewer steps than expected."""
        if self._bar is not None and self._left:
            self._bar.update(self._left)

    def close(self) -> None:
        """End the running stage."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None

    def __enter__(self) -> Progress:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self._finish()
        self.close()
