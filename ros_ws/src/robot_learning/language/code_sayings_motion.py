"""What people say to make the robot drive, by category; see `code_sayings` for the notation."""

from __future__ import annotations

from robot_learning.language.code_sayings import Skill, Slots, call, calls


def _turn(said: Slots) -> str:
    angle = float(said.get('angle', 90.0))
    sign = 1.0 if said['side'] == 'left' else -1.0
    return call('robot.turn', angle=sign * angle, speed=said.get('turn_speed'))


_GO = '(drive|go|move|travel|head|proceed)'
_ON = '(drive|go|move|roll|travel|advance|proceed|continue|step)'
_BACK_UP = '(back up|reverse|back off|retreat)'
_SPIN = '(turn|rotate|spin|pivot|swing)'
_AT = '(at|with) [a speed of]'
_WITHIN = '(within|in less than|in at most)'
_SPOT = '[the] (point|position|coordinates|spot)'
_XY = '(x {x} [and] y {y}|x = {x} [,] y = {y}|{x} {y}|{x} , {y}|{x} and {y})'

MOTION: tuple[Skill, ...] = (
    Skill(
        'movement',
        calls('robot.move_forward', distance='distance'),
        (
            f'{_ON} {{ahead}} [by|for|about] {{distance}}',
            f'{_ON} {{distance}} {{ahead}}',
            '{distance} {ahead}',
            '{ahead} [by|for] {distance}',
            '(advance|proceed|continue|step|roll) [by|for|about] {distance}',
            '(drive|roll|go|travel|keep going|keep driving|cover) {distance}',
            '(make|do|cover|take) {distance} {ahead}',
            '(move|drive) yourself {distance} {ahead}',
            f'{_ON} [on] {{ahead}} for [about] {{distance}}',
            '(keep going|keep driving|go on) {ahead} for {distance}',
            '(make|do|take) a (move|step) of {distance} {ahead}',
            '(cover|make|do) {distance} going {ahead}',
            f'{_ON} {{ahead}} until you have (made|covered|done) {{distance}}',
        ),
    ),
    Skill(
        'movement',
        calls('robot.move_backward', distance='distance'),
        (
            '(drive|go|move|roll|travel|step) {backward} [by|for|about] {distance}',
            '(drive|go|move|roll|travel|step|continue) {distance} {backward}',
            '{distance} {backward}',
            '{backward} [by|for] {distance}',
            f'{_BACK_UP} [by|for|about] {{distance}}',
            f'{_BACK_UP} a distance of {{distance}}',
            '(make|do|cover|take) {distance} {backward}',
            '(move|drive) yourself {distance} {backward}',
            '(drive|go|move|roll|continue) {backward} for [about] {distance}',
            '(keep going|keep driving|go on|continue) {backward} for {distance}',
            '(make|do|take) a (move|step) of {distance} {backward}',
            f'{_BACK_UP} until you have (made|covered|done) {{distance}}',
            '(drive|go|move) {backward} until you have (made|covered|done) {distance}',
        ),
    ),
    Skill(
        'turning',
        _turn,
        (
            f'{_SPIN} {{to_side}} [by|about] {{angle}}',
            f'{_SPIN} {{angle}} {{to_side}}',
            f'{_SPIN} {{to_side}}',
            '(make|do|take|perform) a {side} turn [of {angle}]',
            '[a] {side} turn of {angle}',
            '{angle} {to_side}',
            '{to_side} [by] {angle}',
            '(swing|pivot|turn|rotate) round {to_side} [by] {angle}',
            '(make|do|take|perform) a turn of {angle} {to_side}',
            f'{_SPIN} yourself {{to_side}} [by] {{angle}}',
            f'{_SPIN} yourself {{angle}} {{to_side}}',
            '(face|look) {to_side}',
            '(make|do|take|perform) a turn {to_side} [of {angle}]',
            '(change|adjust) your (heading|direction) [by] {angle} {to_side}',
            '(change|adjust) your (heading|direction) {to_side} by {angle}',
            f'{_SPIN} by {{angle}} {{to_side}}',
        ),
    ),
    Skill(
        'turning',
        calls('robot.turn', angle=180.0),
        (
            '(turn|spin|rotate|swing) (around|round)',
            '(make|do|take|perform) a u-turn',
            '(turn|spin|rotate|swing) [yourself] (to face|to) the other (way|direction)',
            '(face|look) the other (way|direction)',
            '(rotate|turn|face) [to] the opposite (way|direction)',
            '(turn|spin|rotate|swing) yourself (around|round)',
            '(turn|face) the other (way|direction) (around|round)',
            '(make|do) a u-turn (here|on the spot)',
            'u-turn',
        ),
    ),
    Skill(
        'parameters',
        calls('robot.move_forward', distance='distance', speed='speed'),
        (
            f'{_ON} {{ahead}} {{distance}} {_AT} {{speed}}',
            f'{_ON} {{distance}} {_AT} {{speed}}',
            f'{_ON} {_AT} {{speed}} {{ahead}} for {{distance}}',
            f'{_ON} {{distance}} {{ahead}} {_AT} {{speed}}',
            f'{_AT} {{speed}} {_ON} {{distance}} [{{ahead}}]',
            f'{{distance}} {{ahead}} {_AT} {{speed}}',
            f'{_AT} {{speed}} {_ON} {{ahead}} [for] {{distance}}',
            f'{_ON} {{ahead}} for {{distance}} and keep [a speed of] {{speed}}',
            f'{_ON} {{distance}} and keep [a speed of] {{speed}}',
            f'(cover|make|do) {{distance}} {{ahead}} {_AT} {{speed}}',
        ),
    ),
    Skill(
        'parameters',
        calls('robot.move_backward', distance='distance', speed='speed'),
        (
            f'(drive|go|move|roll|travel|step) {{backward}} {{distance}} {_AT} {{speed}}',
            f'(drive|go|move|roll|travel) {_AT} {{speed}} {{backward}} for {{distance}}',
            f'{_BACK_UP} {{distance}} {_AT} {{speed}}',
            f'{_BACK_UP} {_AT} {{speed}} for {{distance}}',
            f'(drive|go|move|roll|travel) {{distance}} {{backward}} {_AT} {{speed}}',
            f'{_AT} {{speed}} (drive|go|move|roll) {{distance}} {{backward}}',
            f'{{distance}} {{backward}} {_AT} {{speed}}',
            f'{_AT} {{speed}} {_BACK_UP} {{distance}}',
            '(drive|go|move) {backward} for {distance} and keep [a speed of] {speed}',
            f'{_BACK_UP} [by|for] {{distance}} and keep [a speed of] {{speed}}',
        ),
    ),
    Skill(
        'parameters',
        _turn,
        (
            f'{_SPIN} {{to_side}} [by] {{angle}} {_AT} {{turn_speed}}',
            f'{_SPIN} {{angle}} {{to_side}} {_AT} {{turn_speed}}',
            f'{_AT} {{turn_speed}} {_SPIN} {{angle}} {{to_side}}',
            f'(make|do|take|perform) a {{side}} turn of {{angle}} {_AT} {{turn_speed}}',
            f'{_AT} {{turn_speed}} {_SPIN} {{to_side}} [by] {{angle}}',
            f'{{angle}} {{to_side}} {_AT} {{turn_speed}}',
            f'{_SPIN} {{to_side}} {_AT} {{turn_speed}} (by|for) {{angle}}',
            f'{_SPIN} {{angle}} {{to_side}} and keep [a speed of] {{turn_speed}}',
        ),
    ),
    Skill(
        'parameters',
        calls('navigation.go_to_room', room='place', timeout='duration'),
        (
            f'{_GO} to {{place}} {_WITHIN} {{duration}}',
            f'{_WITHIN} {{duration}} {_GO} to {{place}}',
            f'(reach|get to|be at|be in) {{place}} {_WITHIN} {{duration}}',
            f'{_WITHIN} {{duration}} (reach|get to|be at|be in) {{place}}',
            f'(find|make) your way to {{place}} {_WITHIN} {{duration}}',
            f'{_GO} to {{place}} but (stop trying|give up) after {{duration}}',
            '(reach|get to) {place} but (stop trying|give up) after {duration}',
            f'!you have {{duration}} to {_GO} to {{place}}',
            '!you have {duration} to (reach|get to) {place}',
        ),
    ),
    Skill(
        'parameters',
        calls('robot.move_to', x='x', y='y', timeout='duration'),
        (
            f'{_GO} to {_SPOT} {_XY} {_WITHIN} {{duration}}',
            f'{_WITHIN} {{duration}} {_GO} to {_SPOT} {_XY}',
            f'{_GO} to x {{x}} [and] y {{y}} {_WITHIN} {{duration}}',
            f'(reach|get to|be at) {_SPOT} {_XY} {_WITHIN} {{duration}}',
            f'{_WITHIN} {{duration}} (reach|get to|be at) {_SPOT} {_XY}',
            f'{_GO} to {_SPOT} {_XY} but (stop trying|give up) after {{duration}}',
            f'!you have {{duration}} to {_GO} to {_SPOT} {_XY}',
            f'!you have {{duration}} to (reach|get to) {_SPOT} {_XY}',
        ),
    ),
    Skill(
        'navigation',
        calls('navigation.go_to_room', room='place'),
        (
            f'{_GO} to {{place}}',
            '(find|make) your way [over] to {place}',
            '!i (need|want|expect) you (in|at) {place}',
            '(meet|wait for|expect) me (in|at) {place}',
            '(take|bring) yourself [over] to {place}',
            '(get|come|run|navigate) [over] to {place}',
            '(be|show up|arrive) (in|at) {place}',
            f'{_GO} over to {{place}}',
            '(visit|reach) {place}',
            '(go|come|drive) and (meet|find|wait for) me (in|at) {place}',
            '!your (goal|destination|target) is {place}',
            '(set|take) {place} as your (goal|destination|target)',
            f'{_GO} all the way to {{place}}',
            'navigate [all the way|your way] to {place}',
            '(visit|reach|get to|arrive at) {place} (as soon as you can|next)',
        ),
    ),
    Skill(
        'navigation',
        calls('robot.move_to', x='x', y='y'),
        (
            f'{_GO} to {_SPOT} {_XY}',
            f'{_GO} to {_XY}',
            f'navigate to [{_SPOT}] {_XY}',
            f'[the] (target|goal|destination) [position|point] {_XY}',
            f'{_GO} to the (spot|point|position) at {_XY}',
            f'(reach|get to) {_SPOT} {_XY}',
            f'(take|bring) yourself to {_SPOT} {_XY}',
            f'(position|place) yourself at {_XY}',
            f'!your (goal|destination|target) is {_SPOT} {_XY}',
            f'be at [{_SPOT}] {_XY}',
            f'(find|make) your way to {_SPOT} {_XY}',
            f'(set|take) {_SPOT} {_XY} as your (goal|destination|target)',
            f'(navigate|get|come) to {_SPOT} {_XY}',
        ),
    ),
    Skill(
        'navigation',
        calls('navigation.follow_path', path='path'),
        (
            '(follow|drive|run|take|patrol) [the] {path} (path|route|track)',
            '(drive|patrol|go|move|run) along the {path} [path|route|track]',
            '(do|complete) the {path} (path|route|track)',
            '(go|drive|move|run) round the {path} (path|route|track)',
            '(follow|patrol|take|do|run) the (path|route|track) called {path}',
            '(follow|drive|patrol|run) the {path}',
            '(go|drive|move) along the (path|route|track) called {path}',
            '(stay|keep) (on|to) the {path} (path|route|track)',
            '(follow|stay on|keep to) the {path} (path|route|track) to its end',
        ),
    ),
    Skill(
        'navigation',
        calls('navigation.return_home'),
        (
            '(go|come|drive|get|head|move) [back] home',
            '(return|head|go|come|drive|move) [back] to (base|the start|your dock)',
            '(return|go|come|drive) [back] to where you (started|began|came from)',
            '(come|get|go) back [now]',
            'return [home|to base]',
            'back (home|to base|to the start|to your dock)',
            'go (and charge|charge) yourself',
            '(find|make) your way [back] home',
            '(find|make) your way back to (base|the start|your dock)',
            '(return|go) to (base|your dock) and charge [yourself]',
            '(take|bring) yourself [back] (home|to base)',
            '(go|head|drive) back (home|to base)',
        ),
    ),
)
