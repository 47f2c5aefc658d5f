"""Commands made for the frames of HuRIC: what else people might say to a robot at home.

HuRIC holds some hundred commands a collection, too few to show what a frame can sound like. A
frame is mostly its verbs (Baker et al. 1998), so these are written down here, as frame semantics
has them, with everyday things around. Same notation as `language/templates.py`.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterator, Mapping
from types import MappingProxyType

from robot_learning.language.command_files import Labelled

SOURCE = 'frame grammar'
_WORDS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        'noun': (
            *('book', 'mug', 'cup', 'bottle', 'plate', 'phone', 'laptop', 'newspaper', 'pillow'),
            *('towel', 'jacket', 'shirt', 'keys', 'glasses', 'remote control', 'box', 'bag'),
            *('knife', 'fork', 'spoon', 'pan', 'pot', 'apple', 'banana', 'coke', 'beer', 'milk'),
            *('juice', 'cereal box', 'toilet paper', 'soap', 'sponge', 'trash', 'magazine'),
            *(
                'watch',
                'wallet',
                'pen',
                'letter',
                'shoes',
                'blanket',
                'medicine',
                'glass of water',
            ),
            *('can', 'vase', 'camera', 'screwdriver', 'slippers', 'cushion', 'jar', 'pizza'),
        ),
        'adjective': (
            *('red', 'blue', 'black', 'white', 'big', 'small', 'old', 'new', 'empty', 'dirty'),
            *('clean', 'heavy', 'yellow', 'green', 'wooden', 'plastic'),
        ),
        'room': (
            *('kitchen', 'bedroom', 'living room', 'bathroom', 'dining room', 'hall', 'garage'),
            *('studio', 'corridor', 'laundry room', 'office', 'garden', 'guest room', 'house'),
        ),
        'furniture': (
            *('table', 'couch', 'sofa', 'bed', 'desk', 'chair', 'shelf', 'bookcase', 'cupboard'),
            *('counter', 'sink', 'nightstand', 'wardrobe', 'fridge', 'dishwasher', 'window'),
            *('door', 'armchair', 'fireplace', 'dresser', 'bin', 'basket', 'closet', 'drawer'),
            *('television', 'lamp', 'stove', 'plant', 'wall', 'stairs'),
        ),
        'device': (
            *('light', 'lights', 'lamp', 'television', 'tv', 'radio', 'oven', 'heating', 'fan'),
            *('computer', 'air conditioning', 'washing machine', 'dishwasher', 'stereo', 'tap'),
            *('coffee machine', 'boiler', 'alarm', 'vacuum cleaner', 'shower', 'wifi', 'laptop'),
            *('hair dryer', 'music', 'microwave', 'printer', 'switch', 'water'),
        ),
        'opening': (
            *('door', 'window', 'fridge', 'drawer', 'cabinet', 'cupboard', 'curtains', 'blinds'),
            *('shutters', 'box', 'bottle', 'jar', 'oven', 'washing machine', 'closet', 'lid'),
            *('garage door', 'gate', 'wardrobe', 'can', 'umbrella', 'book'),
        ),
        'person': ('me', 'her', 'him', 'my wife', 'john', 'the guest', 'my daughter', 'us'),
        'socket': ('power socket', 'outlet', 'computer', 'internet', 'charger', 'power supply'),
        'side': ('left', 'right'),
        'degrees': ('<n> degrees', 'ninety degrees', 'a few degrees'),
        'state': ('on', 'off', 'open', 'closed', 'empty', 'full', 'clean', 'warm', 'ready'),
        'distance': ('<n> meters', 'two steps', 'a meter', 'a little', 'a bit'),
    }
)
_THING = '(the|a|my|some|that|this|the [{adjective}]|a [{adjective}]) {noun}'
_AT = '(on|in|near|next to|from|under|inside|behind|beside|close to) the {furniture}'
_WHERE = f'[{_AT}] [(in|of) the {{room}}]'
_TO = (
    '(to the {room}|to the {furniture}|to {person}|on the {furniture}|in the {furniture}'
    '|here|back|near the {furniture}|next to the {furniture}|into the {room}|there)'
)
FRAMES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        'Motion': (
            '(go|move|walk|drive|run|come|head) (to|towards|into|near|next to) the {room}',
            '(go|move|walk|drive|come|get) (to|towards|near|close to|by|beside) the {furniture}'
            ' [of the {room}] [slowly|quickly|carefully]',
            '(go|move|come) (forward|backward|backwards|straight|ahead|back|away) [by {distance}]',
            '(move|go|get|stay) away from the {furniture}',
            '(go|move) (to the {side}|on the {side}) of the {furniture}',
            '(leave|exit|cross|go through|go along) the {room}',
            '(come|go) (here|there|to me|over here|upstairs|downstairs|outside)',
            'proceed to the {room}',
        ),
        'Bringing': (
            f'(bring|carry|take|get|fetch|deliver) {_THING} {_TO}',
            f'(bring|get|fetch) {{person}} {_THING} {_WHERE}',
            f'(bring|take|carry) {_THING} {_WHERE} {_TO}',
            f'(take|carry) {_THING} (out|away|outside|with you)',
            f'{{person}} needs {_THING} (bring|get) it to {{person}}',
            f'i need {_THING} (bring|get|fetch) (it|some) [to me|here]',
            f'(go and|please) (get|fetch) {{person}} {_THING}',
            f'(transport|move) {_THING} (from the {{room}}|{_AT}) to the {{furniture}}',
            'take out the (trash|garbage|rubbish)',
        ),
        'Taking': (
            f'(take|grab|pick up|collect|get|catch|seize) {_THING} {_WHERE}',
            f'(take|grab|pick|lift) {_THING} [up] {_WHERE}',
            f'pick {_THING} up',
            f'(take|remove|pull out) {_THING} from the ({{furniture}}|{{room}})',
            f'(take|grab|pick up) {_THING} [that is|which is] {_AT}',
        ),
        'Locating': (
            f'(find|search for|look for|locate|seek) {_THING} {_WHERE}',
            f'(where is|where are) {_THING}',
            f'i (lost|cannot find|am looking for) {_THING} [find it|help me]',
            f'(see|check) where {_THING} (is|are)',
            f'(try to|go and) (find|locate|look for) {_THING}',
            '(find|look for|search for) {person}',
        ),
        'Placing': (
            f'(put|place|lay|set|hang|store|drop off) {_THING} (on|in|into|under|over|next to)'
            ' the {furniture}',
            f'(put|place|lay) {_THING} [back|down|away]',
            f'(put|hang|throw|stow) {_THING} (in|on|into) the {{furniture}} of the {{room}}',
            f'(throw|put) {_THING} in the (bin|trash|garbage)',
            f'(leave|arrange) {_THING} {_AT}',
        ),
        'Releasing': (
            f'(release|drop|let go of|let go) {_THING}',
            '(release|drop|let go of) it [now]',
            f'(release|drop) {_THING} {_AT}',
            f'leave {_THING}',
        ),
        'Change_operational_state': (
            '(turn|switch) (on|off) the {device} [in the {room}]',
            '(turn|switch|shut|put) the {device} (on|off|down|up)',
            '(start|stop|activate|deactivate|restart|shut down|shut off|disable|power up|run)'
            ' the {device}',
            '(turn|switch) (it|them) (on|off)',
            'turn (up|down) the {device}',
            'set the {device} to (on|off|maximum)',
            'make the {device} (start|work|stop)',
        ),
        'Closure': (
            '(open|close|shut|unlock|lock|seal|uncover) the {opening} [in the {room}|please]',
            '(open|close|shut) (it|them) [up]',
            '(raise|lower|pull down|draw) the (blinds|shutters|curtains) [all the way|fully]',
            'put the (blinds|shutters|curtains) (up|down)',
            '(open|close) the {opening} (of|in) the {room}',
            '(leave|keep) the {opening} (open|closed)',
        ),
        'Inspecting': (
            '(check|verify|control|see|look) (if|whether) the {device} (is|are) {state}',
            '(check|verify|see) (if|whether) the {opening} is {state}',
            '(inspect|examine|check|explore|monitor) the ({room}|{furniture}|{device})',
            f'(check|verify|make sure) (if|that|whether) {_THING} is {_AT}',
            'have a look at the {room}',
        ),
        'Change_direction': (
            '(turn|rotate|veer|steer|bend) [to the|to your] {side} [by|of] [{degrees}]',
            '(turn|rotate|spin) (around|back|by {degrees})',
            'turn {side} [slowly|quickly|again]',
            'change direction [to the {side}]',
        ),
        'Arriving': (
            '(enter|reach) the ({room}|{furniture})',
            '(enter|come into|get into|get to) the {room} (through|by|from|via) the {opening}',
            'arrive (at|in|to) the {room}',
            'reach {person} in the {room}',
        ),
        'Attaching': (
            f'(connect|attach|plug|link|fasten|tie) {_THING} (to|into|in) the {{socket}}',
            f'(disconnect|detach|unplug) {_THING} [from the {{socket}}]',
            '(connect|plug|attach) (yourself|the {device}) (to|into) the {socket}',
            '(disconnect|unplug) (yourself|the {device}) [from the {socket}]',
        ),
        'Giving': (
            f'(give|hand|pass|offer) {{person}} {_THING} {_WHERE}',
            f'(give|hand|pass) {_THING} to {{person}}',
            '(pass|hand) {person} the {adjective} {noun}',
        ),
        'Cotheme': (
            '(follow|accompany|escort|guide|lead|chase) {person} [to the {room}]',
            'come with {person} [to the {room}]',
            'follow (the man|that person|the dog|the line)',
            '(stay|keep) (with|behind|close to) {person}',
        ),
        'Perception_active': (
            'look at (the {furniture}|{person}|the {noun}|my face)',
            '(watch|observe|stare at) (the {device}|{person}|the {room}) [with me]',
            'listen to (me|the {device}|the music)',
            '(look|listen) (here|there|carefully|around)',
        ),
        'Being_located': (
            f'there (is|are) {_THING} (on|in|near|under) the {{furniture}} [of the {{room}}]',
            f'{_THING} (is|are|should be|must be) (on|in|near|under) the {{furniture}}',
            f'there is {_THING} in the {{room}} can you (take|bring) it',
            f'there are some {{noun}} {_AT} bring them here',
        ),
        'Manipulation': (
            f'(grasp|hold|grip|touch|squeeze|manipulate) {_THING} {_WHERE}',
            f'(keep|hold) {_THING} [for me|tight]',
        ),
    }
)
_BEFORE = (
    *('please', 'robot', 'robot please', 'could you', 'could you please', 'can you', 'hey robot'),
    *('robot can you', 'robot could you', 'would you', 'may you', "let 's", 'i want you to'),
    *("i 'd like you to", 'i would like you to', 'now', 'sorry can you', 'you have to'),
)
_PREAMBLES = (
    *("i 'm tired", 'i am cold', 'it is dark in here', "it 's too hot", 'we have guests'),
    *('i want to sleep', 'i want to take a shower', 'i am thirsty', 'dinner is ready'),
    *("i 'd like to read", 'it is getting late', 'i am going out', "i can 't reach it"),
    *('the house is a mess', 'i want to watch a movie', 'somebody is coming', 'i am hungry'),
)
_BEHIND = ('please', 'for me', 'quickly', 'slowly', 'right now', 'robot', 'carefully', 'thank you')
_SECOND_RATIO, _PREAMBLE_RATIO = 0.3, 0.12


def examples(
    count: int, seed: int, weights: Mapping[str, float] | None = None
) -> Iterator[Labelled]:
    """Yield commands; of two that are joined the first gives the frame.

    Args:
        count: how many.
        seed: the same gives the same.
        weights: how often each frame, relative to the others; None: equally.
    """
    rng = random.Random(seed)
    frames = list(FRAMES)
    chosen = rng.choices(frames, [weights[name] for name in frames] if weights else None, k=count)
    for frame in chosen:
        text = _expanded(rng.choice(FRAMES[frame]), rng)
        if frame != 'Being_located' and rng.random() < 0.4:
            text = f'{rng.choice(_BEFORE)} {text}'
        if rng.random() < _PREAMBLE_RATIO:
            text = f'{rng.choice(_PREAMBLES)} {text}'
        if rng.random() < 0.15:
            text = f'{text} {rng.choice(_BEHIND)}'
        if rng.random() < _SECOND_RATIO:
            second = _expanded(rng.choice(FRAMES[rng.choice(frames)]), rng)
            text = f'{text} {rng.choice(("and", "and then", "then", "and"))} {second}'
        yield Labelled(text, frame, source=SOURCE, has_slots=False)


def _expanded(template: str, rng: random.Random) -> str:
    while (match := re.search(r'\(([^()\[\]]*)\)|\[([^()\[\]]*)\]', template)) is not None:
        options = (match[1] if match[1] is not None else match[2]).split('|')
        chosen = rng.choice(options) if match[1] is not None or rng.random() < 0.4 else ''
        template = template[: match.start()] + chosen + template[match.end() :]
    words = re.sub(r'\{(\w+)\}', lambda match: rng.choice(_WORDS[match[1]]), template)
    return ' '.join(words.replace('<n>', str(rng.randint(2, 90))).split())
