"""From what was understood to what is done: asks, refuses or plans.

    from robot_learning.language.kernel import Kernel
    from robot_learning.serving import intent

    model = intent.load()
    kernel = Kernel()
    decision = kernel.decide(model.understand('go to the kitchen, then come back'))
    for step in decision.steps:
        print(step.text)

The model is serving's; whoever understands commands in another way can ask the kernel as well.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from robot_learning.errors import CommandError
from robot_learning.language import planner, skills
from robot_learning.language.intents import OUT_OF_SCOPE, Intent
from robot_learning.language.planner import Plan, Situation
from robot_learning.language.skills import Step

ALL_ABILITIES = frozenset(need for verb in skills.VERBS.values() for need in verb.needs)


class Decision(NamedTuple):
    """Exactly one of steps, question and refusal."""

    steps: tuple[Step, ...] = ()
    question: str = ''  # To be answered by the person first.
    missing: str = ''  # What the question is about: a slot, or 'intent'.
    refusal: str = ''  # Why it will not be done.


class Kernel:
    """Decides about commands in one situation.

    Args:
        situation: robot and place; None: a robot that can do everything, in a world without
            named places.
        min_confidence: below it one asks again rather than guesses.
    """

    def __init__(self, situation: Situation | None = None, min_confidence: float = 0.5):
        self.situation = situation or Situation(ALL_ABILITIES)
        self._min_confidence = min_confidence

    def plan(self, wanted: Intent | Sequence[Intent]) -> Plan:
        """Return the steps that do what is wanted, or the question that must come first.

        Raises:
            CommandError: it must or can not be done; says why.
        """
        return planner.plan([wanted] if isinstance(wanted, Intent) else wanted, self.situation)

    def decide(self, understood: Sequence[Intent]) -> Decision:
        """Return what comes of a command; never raises for what people may say."""
        for intent in understood:
            if intent.name != OUT_OF_SCOPE and intent.confidence < self._min_confidence:
                guess = intent.name.replace('_', ' ')
                asked = f'"{intent.text}": did you mean "{guess}"? Please say it differently.'
                return Decision(question=asked, missing='intent')
        try:
            plan = self.plan(understood)
        except CommandError as error:
            return Decision(refusal=str(error))
        return Decision(plan.steps, plan.question, plan.missing)

    def abilities(self) -> str:
        """Say for people what this robot can do here."""
        owned = self.situation.abilities
        able = [verb for verb in skills.VERBS.values() if owned.issuperset(verb.needs)]
        known = [
            f'{what}: {", ".join(names)}.'
            for what, names in (('Places', self.situation.places), ('Paths', self.situation.paths))
            if names
        ]
        return ' '.join(['I can:', *(verb.summary for verb in able), *known])
