"""A plan or a checked program while it is carried out, control step by control step."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import py_trees
from py_trees.common import Status

from robot_learning.errors import CommandError
from robot_learning.language import interpreter
from robot_learning.language.performer import Performer
from robot_learning.language.planner import Situation, check_target
from robot_learning.language.program import Program
from robot_learning.language.senses import Order, Outcome, Senses
from robot_learning.language.skills import Step, Value


class Run(Protocol):
    """What whoever moves the robot needs of it."""

    @property
    def done(self) -> list[str]:
        """Calls that were carried out, as they would be written."""

    @property
    def not_done(self) -> list[str]:
        """Those that were not, with the reason."""

    @property
    def said(self) -> list[str]:
        """What the robot tells, in order."""

    @property
    def skill(self) -> str:
        """The verb that is being done; '' between two."""

    @property
    def number(self) -> int:
        """How many calls came before it."""

    def tick(self, senses: Senses) -> Order | None:
        """Return what to do until the next control step; None: it is over."""

    def cancel(self, reason: str) -> None:
        """Give up; the owner stops the robot."""


class PlanRun:
    """A plan's steps one after the other, as a behaviour tree; the first that fails ends it.

    Args:
        steps: of the plan.
        performer: carries them out.
    """

    def __init__(self, steps: Sequence[Step], performer: Performer):
        self._said: list[str] = []
        self._leaves = [_Leaf(step, performer) for step in steps]
        self._root = py_trees.composites.Sequence('plan', memory=True, children=self._leaves)
        self._reason = ''  # Why it was given up.
        self._is_over = False

    @property
    def said(self) -> list[str]:
        """What the robot tells, in order."""
        return self._said

    @property
    def done(self) -> list[str]:
        """Steps that were carried out."""
        return [leaf.step.text for leaf in self._leaves if leaf.has_succeeded]

    @property
    def not_done(self) -> list[str]:
        """Steps that were not, and why."""
        reason = self._reason or next((leaf.reason for leaf in self._leaves if leaf.reason), '')
        return [
            f'{leaf.step.text}: {leaf.reason or f"not begun, {reason}"}'
            for leaf in self._leaves
            if not leaf.has_succeeded
        ]

    @property
    def skill(self) -> str:
        """The verb that is being done; '' between two."""
        leaf = self._running()
        return '' if leaf is None else leaf.step.verb.name

    @property
    def number(self) -> int:
        """How many steps came before it."""
        return len(self.done)

    def tick(self, senses: Senses) -> Order | None:
        """Return what to do until the next control step; None: it is over."""
        if self._is_over:  # A tree that is ticked on would begin anew.
            return None
        for leaf in self._leaves:
            leaf.senses = senses
        self._root.tick_once()
        self._is_over = self._root.status != Status.RUNNING
        for leaf in self._leaves:
            if leaf.told:
                self._said.append(leaf.told)
                leaf.told = ''
        running = self._running()
        return None if running is None else running.order

    def cancel(self, reason: str) -> None:
        """Give up."""
        leaf = self._running()
        if leaf is not None:
            leaf.reason = reason
        self._reason = reason
        self._is_over = True
        self._root.stop(Status.INVALID)

    def _running(self) -> _Leaf | None:
        return next((leaf for leaf in self._leaves if leaf.status == Status.RUNNING), None)


class _Leaf(py_trees.behaviour.Behaviour):
    """One call. Succeeds when it was done, and when what was asked for is so."""

    def __init__(self, step: Step, performer: Performer):
        super().__init__(step.text)
        self.step = step
        self.senses: Senses | None = None
        self.order = Order()
        self.reason = ''  # Why it failed.
        self.told = ''
        self.has_succeeded = False
        self._performer = performer

    def initialise(self) -> None:
        self._performer.begin(self.step)

    def update(self) -> Status:
        assert self.senses is not None, 'set before every tick'
        answer = self._performer.tick(self.senses)
        if isinstance(answer, Order):
            self.order = answer
            return Status.RUNNING
        self.told = answer.said
        self.has_succeeded = answer.success and answer.value is not False
        if not self.has_succeeded:
            self.reason = answer.reason or answer.said or 'it is not so'
        return Status.SUCCESS if self.has_succeeded else Status.FAILURE

    def terminate(self, new_status: Status) -> None:
        if new_status == Status.INVALID and self.status == Status.RUNNING:
            self._performer.cancel()


class ProgramRun:
    """A checked program, whose next call depends on what the sensors said.

    Args:
        program: checked.
        performer: carries its calls out.
        situation: what each call is held against when it is due.
    """

    def __init__(self, program: Program, performer: Performer, situation: Situation):
        self._done: list[str] = []
        self._not_done: list[str] = []
        self._said: list[str] = []
        self._walk = interpreter.steps(program)
        self._performer, self._situation = performer, situation
        self._step: Step | None = None
        self._result: Value | None = None  # Of the last call.
        self._has_begun = False

    @property
    def done(self) -> list[str]:
        """Calls that were carried out."""
        return self._done

    @property
    def not_done(self) -> list[str]:
        """The call that failed, and why."""
        return self._not_done

    @property
    def said(self) -> list[str]:
        """What the robot tells, in order."""
        return self._said

    @property
    def skill(self) -> str:
        """The verb that is being done; '' between two."""
        return '' if self._step is None else self._step.verb.name

    @property
    def number(self) -> int:
        """How many calls came before it."""
        return len(self.done)

    def tick(self, senses: Senses) -> Order | None:
        """Return what to do until the next control step; None: it is over."""
        while self._step is not None or self._next():
            assert self._step is not None
            answer = self._performer.tick(senses)
            if isinstance(answer, Order):
                return answer
            self._take(self._step, answer)
        return None

    def cancel(self, reason: str) -> None:
        """Give up."""
        if self._step is not None:
            self._performer.cancel()
            self._not_done.append(f'{self._step.text}: {reason}')
            self._step = None
        self._walk.close()
        self._has_begun = True

    def _next(self) -> bool:
        """Begin the next call; return whether there is one."""
        try:
            if self._has_begun:
                self._step = self._walk.send(self._result)
            else:
                self._has_begun = True
                self._step = next(self._walk)
            check_target(self._step, self._situation)
        except StopIteration:
            return False
        except CommandError as error:
            self._not_done.append(str(error))
            self._step = None
            self._walk.close()
            return False
        self._performer.begin(self._step)
        return True

    def _take(self, step: Step, outcome: Outcome) -> None:
        self._step = None
        if outcome.said:
            self._said.append(outcome.said)
        if outcome.success:
            self._result = outcome.value
            self._done.append(step.text)
        else:
            self._not_done.append(f'{step.text}: {outcome.reason}')
            self._walk.close()
