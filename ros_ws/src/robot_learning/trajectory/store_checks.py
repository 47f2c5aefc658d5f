"""Checks a trajectory store: every segment by itself, and the order of pieces across them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from robot_learning.errors import StoreError
from robot_learning.trajectory import store_files
from robot_learning.trajectory.segment_checks import PieceSpan, SegmentCheck, check_segment
from robot_learning.trajectory.store_files import DAMAGED, Problem

_LARGEST_GAP = 100_000  # Segments missing in a row; more were never there.
LOSSES = 'losses.json'  # In the folder of what was set aside: what a repair could not bring back.


class Hole(NamedTuple):
    """Steps of an episode that are not there."""

    episode: int
    start: int
    stop: int

    def __str__(self) -> str:
        return f'steps {self.start} to {self.stop - 1} of episode {self.episode} are missing'


@dataclass
class Losses:
    """What is known to be missing, so that it is told and no longer a problem."""

    segments: list[int] = field(default_factory=list)
    steps: list[Hole] = field(default_factory=list)


@dataclass
class SessionCheck:
    """What was found in one session.

    Attributes:
        problems: what a repair would put right.
        notes: what is worth knowing.
    """

    name: str
    segments: list[SegmentCheck] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    holes: list[Hole] = field(default_factory=list)  # Not among the known losses.
    absent: list[int] = field(default_factory=list)  # Numbers of segments, likewise.
    duplicates: list[tuple[Path, PieceSpan]] = field(default_factory=list)
    is_being_written: bool = False

    def to_dict(self) -> dict[str, Any]:
        """Return the findings as plain data."""
        return {
            'session': self.name,
            'segments': len(self.segments),
            'episodes': len({span.episode for s in self.segments for span in s.spans}),
            'steps': sum(segment.num_steps for segment in self.segments),
            'bytes': sum(segment.num_bytes for segment in self.segments),
            'unsealed_segments': sum(not segment.is_sealed for segment in self.segments),
            'is_being_written': self.is_being_written,
            'problems': [{'path': str(p.path), 'text': p.text} for p in self.problems],
            'notes': self.notes,
        }


@dataclass
class StoreCheck:
    """What was found in a store."""

    root: Path
    sessions: list[SessionCheck]
    notes: list[str] = field(default_factory=list)

    @property
    def problems(self) -> list[Problem]:
        """All problems of all sessions."""
        return [problem for session in self.sessions for problem in session.problems]

    def to_dict(self) -> dict[str, Any]:
        """Return the findings as plain data."""
        return {
            'store': str(self.root),
            'is_sound': not self.problems,
            'notes': self.notes,
            'sessions': [session.to_dict() for session in self.sessions],
        }


def require_store(root: Path) -> None:
    """Check that there is a store.

    Raises:
        StoreError: there is none, or it is one session.
    """
    if not root.is_dir():
        raise StoreError(f'{root}: there is no such folder. Name a trajectory store.')
    if store_files.listed(root):
        raise StoreError(
            f'{root}: is one session of a store. Name the store, {root.resolve().parent}.'
        )
    if not any(_has_segments(root / name) for name in store_files.session_names(root)):
        raise StoreError(
            f'{root}: holds no sessions with segments, expected a trajectory store. Name one.'
        )


def check_store(root: Path, is_deep: bool = False) -> StoreCheck:
    """Check everything below `root`.

    Args:
        root: of the store.
        is_deep: also read every observation; else their shapes and the checksums are compared.
    """
    names = store_files.session_names(root)
    check = StoreCheck(root, [check_session(root / name, is_deep) for name in names])
    for path in sorted(root.iterdir()) if root.is_dir() else ():
        if path.name not in names:
            what = 'is an import that is running or was killed'
            is_import = path.name.startswith('.importing_')
            check.notes.append(f'{path}: {what if is_import else "is no part of a store"}')
        elif path.is_symlink():
            check.notes.append(f'{path}: is a link to {path.resolve()}')
    return check


def check_session(folder: Path, is_deep: bool = False) -> SessionCheck:
    """Check one session."""
    check = SessionCheck(folder.name, is_being_written=store_files.is_being_written(folder))
    losses = read_losses(folder)
    newest = store_files.newest_number(folder)  # Now: a recorder may go on.
    first_hash = ''
    for path in store_files.listed(folder):
        found = check_segment(path, is_deep)
        check.segments.append(found)
        check.problems += [Problem(path, f'{path}: {text}') for text in found.problems]
        check.notes += [f'{path.name}: {text}' for text in found.notes]
        first_hash = first_hash or found.contract_hash
        if found.contract_hash not in ('', first_hash):
            check.notes.append(f'{path.name}: has another contract than the segments before')
    num_old = sum(segment.is_old for segment in check.segments)
    if num_old:
        check.notes.append(
            f'{num_old} segments are of before checksums: their values are unchecked'
        )
    _check_numbers(folder, newest, check, losses)
    _check_order(check, losses)
    _check_other_files(folder, check)
    return check


def read_losses(folder: Path) -> Losses:
    """Return what repairs of this session could not bring back."""
    path = folder / DAMAGED / LOSSES
    try:
        content = json.loads(path.read_text(encoding='utf-8'))
        return Losses(
            [int(number) for number in content['segments']],
            [Hole(*map(int, entry)) for entry in content['steps']],
        )
    except FileNotFoundError:
        return Losses()
    except (OSError, ValueError, KeyError, TypeError):
        return Losses()  # Found again by the check, and written anew by the next repair.


def _check_numbers(folder: Path, newest: int, check: SessionCheck, losses: Losses) -> None:
    """Look for numbers that are skipped; older segments may have been pruned."""
    there = [store_files.number(segment.path) for segment in check.segments]
    known = {*there, *losses.segments}
    check.notes += [f'segment {n} is lost' for n in losses.segments if n not in there]
    before = min(there, default=0) - 1
    for number in sorted({n for n in known if before < n < newest} | {newest}):
        if number - before > _LARGEST_GAP:
            path = store_files.segment_path(folder, number)
            text = f'has a number far behind that of the segment before it, {before}. Rename it.'
            check.problems.append(Problem(path, f'{path}: {text}'))
        else:
            check.absent += [n for n in range(before + 1, number + 1) if n not in known]
        before = number
    for number in check.absent:
        path = store_files.segment_path(folder, number)
        text = 'is missing, segments before and behind it are there. Run "./run store repair".'
        check.problems.append(Problem(path, f'{path}: {text}'))


def _check_order(check: SessionCheck, losses: Losses) -> None:
    """Follow the pieces of all segments: each begins an episode or goes on with the last one."""
    spans = list(_spans(check.segments))
    ended: set[int] = set()
    episode, end = -1, 0
    is_pruned = bool(spans) and store_files.number(spans[0][0]) > 0
    for position, (path, span) in enumerate(spans):
        goes_on = span.episode == episode and span.offset == end
        if span.episode in ended or (span.episode == episode and span.offset < end):
            check.duplicates.append((path, span))
            check.problems.append(
                Problem(path, f'{path}: {span} is there already. Run "./run store repair".')
            )
            continue
        if span.offset and not goes_on and not (is_pruned and position == 0):
            start = end if span.episode == episode else 0
            hole = Hole(span.episode, start, span.offset)
            if hole in losses.steps:
                check.notes.append(str(hole))
            else:
                check.holes.append(hole)
                check.problems.append(Problem(path, f'{path}: {hole}. Run "./run store repair".'))
        if episode >= 0 and span.episode != episode:
            if episode not in ended:
                check.notes.append(f'episode {episode} has no end: it breaks off at step {end}')
            ended.add(episode)
        episode, end = span.episode, span.offset + span.length
        if span.is_complete:
            ended.add(episode)


def _spans(segments: Sequence[SegmentCheck]) -> Iterator[tuple[Path, PieceSpan]]:
    for segment in segments:
        for span in segment.spans:
            yield segment.path, span


def _check_other_files(folder: Path, check: SessionCheck) -> None:
    for path in sorted(folder.iterdir()):
        if path.is_symlink():
            text = f'is a link to {path.resolve()}, expected a file. Replace it by what it names.'
            if store_files.number(path) >= 0:
                check.problems.append(Problem(path, f'{path}: {text}'))
            else:
                check.notes.append(f'{path.name}: is a link and no part of a store')
        elif store_files.is_temporary(path):
            if not (check.is_being_written and store_files.writer_lives(path)):
                text = (
                    'was left half-written or not yet named by a crash. Run "./run store repair".'
                )
                check.problems.append(Problem(path, f'{path}: {text}'))
        elif store_files.number(path) < 0 and path.name != DAMAGED:
            check.notes.append(f'{path.name}: is no part of a store')


def _has_segments(folder: Path) -> bool:
    if store_files.listed(folder) or store_files.temporaries(folder):
        return True
    return (folder / DAMAGED / LOSSES).is_file()
