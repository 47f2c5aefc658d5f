"""Kill -9 at random moments changes nothing in what a trainer learns from the same data."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / 'phases'))
import killed_trainer


def test_a_trainer_that_is_killed_learns_the_same_bit_by_bit(tmp_path):
    result = killed_trainer.compare(tmp_path, num_kills=2, seed=5, updates_per_step=4)
    assert result.different == ()
    assert result.updates == result.expected_updates
