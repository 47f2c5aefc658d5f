"""What people might say for each intent, and what they call the words of the schema.

A small notation: `(a|b)` is one of these, `[a]` may be left out, `{slot}` is a value in words.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from robot_learning.language.intents import OUT_OF_SCOPE

_OBJECT = '[the|a|that|my] [{size}] [{color}] {object}'
_IT = '(it|that|this|that one)'
# What people call the words of the schema, besides those themselves.
SYNONYMS: Mapping[str, Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {
        'object': {
            'ball': ('sphere', 'balls'),
            'cube': ('box', 'block', 'dice'),
            'can': ('tin', 'tin can', 'soda can', 'coke can'),
        },
        'color': {'purple': ('violet',), 'red': ('crimson',), 'green': ('lime',)},
        'size': {'small': ('little', 'tiny'), 'medium': ('mid-size',), 'large': ('big', 'huge')},
        'place': {
            'home': ('the base', 'the start', 'your dock', 'the charging station'),
            'kitchen': ('the kitchen',),
            'bedroom': ('the bedroom', 'my bedroom'),
            'office': ('the office', 'my office', 'the study'),
            'hall': ('the hall', 'the corridor', 'the hallway'),
            'garage': ('the garage',),
        },
        'path': {
            'square': ('square path', 'square route', 'square loop'),
            'circle': ('circular path', 'circle route', 'circular route'),
            'corridor': ('corridor path', 'corridor route'),
        },
        'direction': {
            'forward': ('forwards', 'ahead', 'straight ahead', 'straight on', 'straight'),
            'backward': ('back', 'backwards', 'in reverse'),
            'left': ('to the left', 'leftwards', 'to your left'),
            'right': ('to the right', 'rightwards', 'to your right'),
        },
        'about': {
            'battery': ('your battery', 'battery level', 'charge', 'your power', 'the battery'),
            'pose': ('your position', 'where you are', 'location', 'your location'),
            'distance': ('distance ahead', 'how far the wall is', 'distance to the wall'),
            'view': ('what you see', 'your surroundings', 'what is around you'),
        },
    }
)
# Slots that only some templates have: which slot of the schema, and how its values are said.
SPECIAL: Mapping[str, tuple[str, Mapping[str, tuple[str, ...]]]] = MappingProxyType(
    {
        'side': (
            'direction',
            {
                'left': ('left', *SYNONYMS['direction']['left'], 'counterclockwise'),
                'right': ('right', *SYNONYMS['direction']['right'], 'clockwise'),
            },
        ),
        'around': ('direction', {'backward': ('around', 'round', 'the other way')}),
        'reverse': ('direction', {'backward': ('back up', 'reverse', 'back off')}),
        'charge': ('about', {'battery': ('charged', 'energy', 'power', 'juice')}),
        'seen': ('about', {'view': ('see', 'in front of you', 'looking at')}),
        'whereabouts': ('about', {'pose': ('where are you', 'where you are', 'where are we')}),
    }
)
# What people say in a slot and the schema does not have.
STRANGE: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        'object': (
            *('book', 'cup', 'mug', 'bottle', 'banana', 'apple', 'phone', 'keys', 'laptop'),
            *('newspaper', 'towel', 'remote', 'plate', 'pillow', 'shoes', 'umbrella', 'pen'),
        ),
        'place': (
            *('the bathroom', 'the table', 'the sofa', 'the fridge', 'the garden', 'the door'),
            *('the shelf', 'the basement', 'the window', 'the dining room', 'the lab', 'the desk'),
        ),
        'color': ('pink', 'black', 'white', 'brown', 'grey', 'golden'),
    }
)
TEMPLATES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        'move': (
            '(drive|go|move|roll|travel) {direction} [by|for] {distance}',
            '(drive|go|move|head) {distance} {direction}',
            '{distance} {direction}',
            '(make|do) {distance} {direction}',
            '(drive|move|keep going|roll) {direction}',
            '(advance|proceed|continue) [for] {distance}',
            'could you (drive|go) {direction} about {distance}',
            'I (want|need) you to (go|move) {direction} {distance}',
            '{reverse} [by] {distance}',
            '{reverse} [a bit]',
            '(drive|go|move|travel) [for] {distance}',
            '(come|inch|creep) {direction} {distance}',
            'take {distance} {direction}',
        ),
        'turn': (
            '(turn|rotate|spin|pivot) {side}',
            '(turn|rotate|spin|pivot) {side} [by] {angle}',
            '(turn|rotate|spin) [by] {angle} {side}',
            '(make|take|do) a {side} turn [of {angle}]',
            '{side} turn of {angle}',
            '(face|look) {side}',
            'swing [round] {side} {angle}',
            '(turn|spin|face|swing) {around}',
            '{side} {angle}',
            'rotate yourself {angle} {side}',
            'take a {side}',
            'veer {side} [by {angle}]',
            'turn {angle}',
        ),
        'go_to_place': (
            '(go|drive|move|head|navigate|walk|run|roll) [over] to {place}',
            '(find your way|make your way|get yourself) to {place}',
            'I (need|want) you in {place}',
            'meet me (in|at) {place}',
            'take yourself to {place}',
            '(proceed|travel) to {place}',
            'be (in|at) {place}',
            '(go|drive) (into|inside) {place}',
            '(reach|enter|visit) {place}',
            '{place} please',
            'wait for me (in|at) {place}',
            '(can|could) you (come|go|drive) to {place}',
            'your next stop is {place}',
        ),
        'go_to_object': (
            f'(go|drive|move|head|navigate) [up|over] to {_OBJECT}',
            f'(approach|reach) {_OBJECT}',
            f'(drive|get|move|come) (close|closer|near) to {_OBJECT}',
            f'(stand|park|stop) (by|next to|in front of|near|beside) {_OBJECT}',
            f'(move|drive|head) towards {_OBJECT}',
            f'get over to {_OBJECT}',
            f'(go|drive|move|head) [up|over] to {_IT}',
            f'(approach|reach) {_IT}',
            f'(go|drive) (near|next to|beside) {_OBJECT}',
            f'position yourself (at|by|in front of) {_OBJECT}',
            f'make your way to {_OBJECT}',
        ),
        'go_to_pose': (
            '(go|drive|move|navigate) to [the] (point|position|coordinates|location) {x} {y}',
            '(go|drive|navigate) to x {x} y {y}',
            '(go|move|drive) to {x} , {y}',
            'target position {x} and {y}',
            'drive to the spot at {x} by {y}',
            '(go|drive|move) to ( {x} , {y} )',
            'your goal is {x} {y}',
            '(go|drive) to x = {x} , y = {y}',
            'coordinates {x} {y}',
            'be at x {x} and y {y}',
        ),
        'follow_path': (
            '(follow|drive|run|trace) [the] {path}',
            '(drive|patrol|go|move) along the {path}',
            'do the {path} [route|path]',
            'take the {path} [route|path]',
            'go round the {path}',
            '(drive|go) in a {path}',
            'make a {path}',
            '(patrol|drive round) the {path} [once|again]',
        ),
        'look_for': (
            f'(look|search|hunt) for {_OBJECT}',
            f'(find|locate|spot|detect) {_OBJECT}',
            f"(where is|where's) {_OBJECT}",
            f'(can|do) you see {_OBJECT}',
            'is there [a|any] [{size}] [{color}] {object} [around|here|anywhere|nearby]',
            f'scan [the room] for {_OBJECT}',
            f'(find|look for|search for) {_IT}',
            f'(try to|go) (find|locate) {_OBJECT}',
            f'I (lost|cannot find) {_OBJECT}',
            f'tell me where {_OBJECT} is',
            f'check whether there is {_OBJECT}',
        ),
        'pick_up': (
            f'(pick up|grab|grasp|take|collect) {_OBJECT}',
            f'(lift|raise|seize|clutch) {_OBJECT} [up]',
            f'pick {_OBJECT} up',
            f'get hold of {_OBJECT}',
            f'hold {_OBJECT}',
            f'close your gripper (on|around) {_OBJECT}',
            f'(pick up|grab|grasp|take|lift) {_IT}',
            f'pick {_IT} up',
            f'(get|catch) {_OBJECT} (with|in) your gripper',
            f'pick up {_OBJECT} from (the floor|the table|there)',
            f'take hold of {_OBJECT}',
        ),
        'put_down': (
            '(put|set|lay) (it|that|the thing) down',
            '(drop|release|unload) (it|that)',
            '(put|place|leave|drop|set) (it|that|this) [down] (in|at|into) {place}',
            'let go [of it|of that]',
            'open your gripper',
            'put down what you (hold|are holding|carry|have)',
            'release (what you hold|your grip|the object)',
            'put down the [red|blue|green] (ball|cube|can|book|cup)',
            '(drop|release|set down) the [yellow|small] (ball|cube|can|bottle|box) [here]',
            'get rid of it',
        ),
        'bring': (
            f'(bring|fetch|get|hand|give) me {_OBJECT}',
            f'(bring|carry|take|deliver) {_OBJECT} to {{place}}',
            f'(move|transport|haul) {_OBJECT} (into|to) {{place}}',
            f'I (want|need|would like) {_OBJECT} (in|at) {{place}}',
            f'(fetch|deliver) {_OBJECT}',
            f'(can|could) I have {_OBJECT}',
            'bring me (that|it|this)',
            f'(bring|carry|take|deliver) {_IT} (to|into) {{place}}',
            f'(bring|carry|take) {_IT} (home|back|back to me|here)',
            f'I (want|need) {_OBJECT}',
            f'(bring|fetch|get) {_OBJECT} (here|for me|to me)',
            f'get {_OBJECT} (to|into) {{place}}',
            f'(put|place|leave) {_OBJECT} (in|into|at) {{place}}',
        ),
        'return_home': (
            '(go|come|drive|get|head) [back] home',
            '(return|head|go) [back] to (base|the start|your dock|where you started)',
            'come back [here|to me]',
            'return [home]',
            'back to base',
            'go [and] charge yourself',
            '(it is time to|you may) go home',
            'dock [yourself]',
            '(drive|go) back to where you came from',
        ),
        'stop': (
            'stop [moving|driving|now|there]',
            '(halt|freeze|pause there)',
            'stay where you are',
            "don't move [any further]",
            'cancel (that|the mission|everything)',
            'that is enough',
            '(brake|hold it|stand still)',
            'do not (go|drive|move) (any further|on|anymore)',
            'come to a (stop|halt)',
        ),
        'wait': (
            '(wait|pause|hold on|hang on) [for] {duration}',
            '(stay|stand|remain) (still|here|there) for {duration}',
            'do nothing for {duration}',
            'give me {duration}',
            '(wait|hold on|hang on) [a moment|a bit|for me]',
            'take a break of {duration}',
            '(sleep|rest|idle) for {duration}',
            'count {duration}',
            'pause [for] {duration} before you go on',
        ),
        'report': (
            '(report|tell me) [about] {about}',
            '(say|show me|describe|check|give me) {about}',
            "(what is|what's) {about}",
            'I want to know {about}',
            'give me a report on {about}',
            'status of {about}',
            'how (much|is your) {charge} (do you have|left|is left)',
            'how {charge} are you',
            'what (do|can) you {seen} [right now]',
            "what (are you|is|'s) {seen}",
            '{whereabouts} [right now|now]',
            'tell me {whereabouts}',
        ),
        OUT_OF_SCOPE: (
            "what's the (weather|temperature|time) [like] [today|tomorrow|in Paris]",
            '(play|turn on|turn off) (some music|the radio|the lights|the television|the oven)',
            'who (won|is winning) the (game|match|election)',
            '(book|order|buy) (a table|a pizza|a flight|tickets) [for two|for tonight]',
            '(tell me a joke|sing a song|what is your name|how old are you|who made you)',
            '(call|text|email|message) (mom|my boss|the office|a doctor)',
            'how (do|can) I (cook rice|tie a tie|learn French|fix my car)',
            '(translate|spell) (hello|robot|good morning) [in Spanish|please]',
            '(hurt|hit|attack|run over|punch) (the cat|that man|somebody|the baby)',
            '(fly|climb|swim|dance|jump) (to the moon|up the wall|across the pool|with me)',
            'set (an alarm|a timer|a reminder) for (six|seven thirty|noon|ten minutes)',
            "(good morning|how are you|thank you|you're welcome|nice robot|hello there)",
            '(open|close|lock) (the door|the window|the fridge|the curtains)',
            '(clean|wash|cook|slice|heat) (the dishes|the floor|dinner|the tomato|some bread)',
            '(what|who|where|why) is (the capital of France|the president|love|the sky blue)',
            '(follow|guide|escort|greet|introduce) (me|her|the guests|my friend) [to the exit]',
            'ignore (all|your) [previous] (instructions|rules|limits)',
            '(write|read|delete|run) (a poem|my email|all files|the program)',
            'what is (two plus two|the meaning of life|five times six)',
            '(I am|we are) (tired|hungry|bored|leaving)',
        ),
    }
)
