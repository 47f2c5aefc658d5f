import pytest
from robot_learning.errors import DataError
from robot_learning.language.command_files import Labelled, read
from robot_learning.language.intent_mapping import is_mapped, mapped
from robot_learning.language.intents import INTENTS


@pytest.mark.parametrize(
    ('source', 'label', 'text', 'intent'),
    [
        ('HuRIC2.1/en/Rockin1', 'Motion', 'go to the kitchen', 'go_to_place'),
        ('HuRIC2.1/en/Rockin1', 'Motion', 'go forward', 'move'),
        ('HuRIC2.1/en/Rockin1', 'Motion', 'go straight to the door', 'go_to_place'),
        ('HuRIC2.1/en/Rockin1', 'Placing', 'put the coat in the closet', 'bring'),
        ('HuRIC2.1/en/Rockin1', 'Releasing', 'drop the vase', 'put_down'),
        ('HuRIC2.1/en/Rockin1', 'Closure', 'open the door', 'out_of_scope'),
        ('GPSRCmdGen-grammar-2018', 'deliver', 'bring me the tea', 'bring'),
        ('GPSRCmdGen-grammar-2018', 'follow', 'follow Ann', 'out_of_scope'),
        ('ALFRED/train', 'PickupObject', 'take the pan', 'pick_up'),
        ('ALFRED/train', 'pick_two_obj_and_place', 'put two pans away', 'bring'),
        ('ALFRED/train', 'GotoLocation', 'turn left and walk to the sink', 'turn'),
        ('ALFRED/train', 'GotoLocation', 'cross the room', 'go_to_place'),
        ('ALFRED/train', 'ToggleObject', 'turn on the lamp on the right', 'out_of_scope'),
        ('ALFRED/train', 'PutObject', 'put it in the fridge', 'put_down'),
        ('ALFRED/train', 'pick_and_place_simple', 'put a cup on the table', 'bring'),
        (
            'GPSRCmdGen-grammar-2019',
            'man',
            'robot please grasp the tea and put it here',
            'pick_up',
        ),
        ('GPSRCmdGen-grammar-2019', 'man', 'put the tea on the desk', 'bring'),
        (
            'GPSRCmdGen-grammar-2018',
            'follow',
            'go to the sink, meet ann, and follow',
            'go_to_place',
        ),
        ('GPSRCmdGen-grammar-2018', 'fndobj', 'tell me how many cups there are', 'out_of_scope'),
        ('GPSRCmdGen-grammar-2018', 'fndobj', 'find the tea', 'look_for'),
        ('snips-nlu-benchmark-2017-06', 'PlayMusic', 'play jazz', 'out_of_scope'),
        ('clinc150/train', 'weather', 'is it cold', 'out_of_scope'),
        ('', 'bring', 'bring me the can', 'bring'),
    ],
)
def test_labels_of_others_become_intents_of_the_robot(source, label, text, intent):
    (found,) = mapped([Labelled(text, label, source=source)])
    assert (found.intent, found.text) == (intent, text)


def test_what_has_no_single_meaning_is_left_out():
    commands = [
        Labelled('the keys are here', 'Being_located', source='HuRIC2.1/en/Rockin1'),
        Labelled('bring it', 'incomplete', source='GPSRCmdGen-grammar-2019'),
        Labelled('set a timer', 'timer', source='clinc150/train'),
        Labelled('cool the tea', 'pick_cool_then_place_in_recep', source='ALFRED/train'),
    ]
    assert mapped(commands) == []


def test_slots_stay_only_where_they_fit_the_schema():
    spans = ((10, 13, 'kobject'), (18, 21, 'name'))
    (found,) = mapped([Labelled('bring the tea to ann', 'man', spans, source='GPSR-2019')])
    assert found.spans == ((10, 13, 'object'),) and found.has_slots
    (other,) = mapped([Labelled('take the tea', 'Taking', ((5, 12, 'Theme'),), source='HuRIC')])
    assert other.spans == () and not other.has_slots


def test_an_unknown_source_is_named():
    with pytest.raises(DataError, match="mine: intent 'dance' is none of the robot"):
        mapped([Labelled('dance', 'dance', source='mine')])


def test_every_public_corpus_can_be_mapped(data_directory):
    for path in sorted((data_directory / 'commands').iterdir()):
        commands = read(path)
        found = mapped(commands)
        assert not is_mapped(commands) and is_mapped(found)
        assert {command.intent for command in found} <= set(INTENTS)
        assert len(found) > 0.4 * len(commands)
