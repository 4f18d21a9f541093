"""Reads of files on other machines that are near each other come with one request, and memory stays bounded.

Training reads shards in windows of 65,536 images over all lanes (see data/feeding/order.py): what is fetched besides
the image that was asked for is of use only if it can be held until its turn. So there are three cases.

1. All files together fit into what is kept, or images are so small that those of all windows do: whole blocks are
   fetched, and after one epoch nothing is fetched twice.
2. A read begins where another has just ended, and that one too: somebody reads in a row, and gets four times as much
   each time, up to 8 MB. Evaluation and checking do this. One alone may be chance.
3. Anything else comes as it is asked for.
"""

from __future__ import annotations

import bisect
import threading
import weakref
from collections import OrderedDict, deque
from concurrent.futures import Future

from vitreous.data.layouts.storage import Placed

KEPT = 2**29
"""Bytes that are kept of all files together: the bound on this process's memory, 512 MB."""

_BLOCK = 2**20
_SMALL = KEPT // 65_536 // 2  # bytes of images whose windows fit, with blocks that reach over regions
_LEAST, _MOST, _GROWTH = 2**18, 2**23, 4  # of what comes at once for who reads in a row
_NEAR = 2**16  # a label and headers may lie between two images in a row
_ENDS = 64  # places of a file at which somebody may be reading on: as many as lanes


class _Span:
    """Part of a file that is there or on its way."""

    def __init__(self, start: int, stop: int) -> None:
        self.start, self.stop = start, stop
        self.content: Future[bytes] = Future()


class Shelf:
    """What is kept of some files, oldest use first out.

    Args:
        room: in bytes.
    """

    def __init__(self, room: int) -> None:
        self.room = room
        self.lock = threading.RLock()  # held by whoever looks at spans, never while bytes are fetched
        self.used = self.opened = 0
        self._spans: OrderedDict[_Span, weakref.ref[ReadAhead]] = OrderedDict()

    def touch(self, span: _Span, owner: ReadAhead) -> None:
        """Note a use of a span, which may be new; what is oldest goes where room is short.

        Args:
            span: of the file.
            owner: the file.
        """
        if span not in self._spans:
            self.used += span.stop - span.start
            self._spans[span] = weakref.ref(owner)
        self._spans.move_to_end(span)
        while self.used > self.room and len(self._spans) > 1:
            self.drop(next(iter(self._spans)))

    def drop(self, span: _Span) -> None:
        """Keep a span no longer.

        Args:
            span: that is kept, or was.
        """
        if (owner := self._spans.pop(span, None)) is not None:
            self.used -= span.stop - span.start
            if (file := owner()) is not None:
                file.forget(span)


SHELF = Shelf(KEPT)
"""What is kept of all files that say nothing else."""


class ReadAhead:
    """A file whose neighbouring parts come together.

    Args:
        file: on another machine.
        usual: bytes of an image in it, on average; None where nobody knows.
        shelf: where what was fetched is kept.
    """

    def __init__(self, file: Placed, usual: int | None = None, shelf: Shelf = SHELF) -> None:
        self._file, self._shelf = file, shelf
        self._small = usual is not None and usual <= _SMALL
        self.size, self.state = file.size, file.state
        self._spans: list[_Span] = []  # by start
        self._ends: deque[tuple[int, int, bool]] = deque(maxlen=_ENDS)  # of reads: where, how much, whether in a row
        with shelf.lock:
            shelf.opened += self.size
        weakref.finalize(self, _left, shelf, self.size, self._spans)

    def read(self, start: int, size: int) -> bytes:
        """Bytes from an offset on, fewer only at the end of the file.

        Args:
            start: offset in bytes.
            size: in bytes.

        Raises:
            OSError: they cannot be had.
        """
        stop, pieces = min(start + size, self.size), []
        while start < stop:
            span, new = self._span(start, stop)
            if span is None:
                pieces.append(self._file.read(start, stop - start))
                break
            if new:
                self._fetch(span)
            pieces.append(span.content.result()[start - span.start : stop - span.start])
            start = span.stop
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def forget(self, span: _Span) -> None:
        """Take a span off the list; the shelf calls it.

        Args:
            span: of this file.
        """
        self._spans.remove(span)

    def _span(self, start: int, stop: int) -> tuple[_Span | None, bool]:
        """The span in which a read begins, and whether it is new and has to be fetched; None where none is worth it."""
        with self._shelf.lock:
            place = bisect.bisect_right(self._spans, start, key=lambda span: span.start)
            if place and start < self._spans[place - 1].stop:
                span, new = self._spans[place - 1], False
            elif (wanted := self._wanted(start, stop)) is None:
                return None, False
            else:
                before = self._spans[place - 1].stop if place else 0
                behind = self._spans[place].start if place < len(self._spans) else self.size
                span, new = _Span(max(wanted[0], before), min(wanted[1], behind)), True
                self._spans.insert(place, span)
                self._ends.append((span.stop, wanted[1] - wanted[0], True))
            self._shelf.touch(span, self)
            return span, new

    def _wanted(self, start: int, stop: int) -> tuple[int, int] | None:
        """From where to where to fetch for a read that begins nowhere in what is there; None for just the read."""
        if self._shelf.opened <= self._shelf.room or self._small:
            begin = start // _BLOCK * _BLOCK
            return begin, min(begin + _BLOCK, self.size)
        following = next((end for end in self._ends if 0 <= start - end[0] <= _NEAR), None)
        if following is not None:
            self._ends.remove(following)
            if following[2]:
                return start, min(max(stop, start + min(_MOST, max(_LEAST, _GROWTH * following[1]))), self.size)
        self._ends.append((stop, stop - start, following is not None))
        return None

    def _fetch(self, span: _Span) -> None:
        try:
            span.content.set_result(self._file.read(span.start, span.stop - span.start))
        except BaseException as error:
            with self._shelf.lock:
                self._shelf.drop(span)
            span.content.set_exception(error)


def _left(shelf: Shelf, size: int, spans: list[_Span]) -> None:
    with shelf.lock:
        shelf.opened -= size
        for span in list(spans):
            shelf.drop(span)
