"""Records bags, shows what they hold, turns them into episodes and recovers cut ones."""

from __future__ import annotations

import argparse
import sys

from robot_learning.commands import (
    bags_export,
    bags_import,
    bags_info,
    bags_record,
    bags_recover,
    bags_trim,
)
from robot_learning.errors import RobotLearningError

_EXAMPLES = """examples:
  ./run bags record --all --out bags/kitchen         until Ctrl-C
  ./run bags record /scan /odom --max-duration 60 --zstd
  ./run bags record --all --ring 30                  the last 30 s, at SIGUSR1
  ./run bags info PATH/TO/BAG                        topics, rates, losses
  ./run bags trim PATH/TO/BAG --out PATH/TO/PIECE --start 10 --end 20
  ./run bags import PATH/TO/BAG --robot husky        episodes into runs/store
  ./run bags import a.mcap --robot pioneer --out runs/logs/store --json report.json
  ./run bags export runs/store --format lerobot --out runs/lerobot --fps 10
  ./run bags import lift.hdf5 --robot arm --map robot0_eef_pos=tip --out runs/store
  ./run bags recover PATH/TO/CUT --out PATH/TO/SOUND
  ./run train --mode supervised --data runs/store --robot husky
A bag is a folder with metadata.yaml, or one .mcap, .db3 or .bag (ROS 1) file."""

# One module per action; each adds its sub-command and says by `run` what it does.
_ACTIONS = (
    bags_record,
    bags_info,
    bags_import,
    bags_export,
    bags_trim,
    bags_recover,
)


def main(argv: list[str] | None = None) -> int:
    """Run the command; return its exit code: 2 for a mistake, else the action's."""
    options = _parser().parse_args(argv)
    try:
        code: int = options.run(options)
    except RobotLearningError as error:
        print(error, file=sys.stderr)
        return 2
    return code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog='bags',
        description=__doc__,
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    actions = parser.add_subparsers(dest='action', required=True)
    for action in _ACTIONS:
        action.add_parser(actions)
    return parser


if __name__ == '__main__':
    sys.exit(main())
