"""What is run of the README's long commands, what they need, and what they must leave."""

IMPORT = (
    './run bags import runs/latest/bag/session_01 --robot arena --out runs/store '
    '--json import.json'
)
TRAIN = './run train --mode supervised --data runs/store --robot arena --name cloned'
ALL = './run train --mode all --data runs/store --name robot'
PPO = './run train --mode policy --algorithm ppo --env CartPole-v1 --name cart'
SCORE = (
    './run evaluate --mode policy --model robot-sac --models runs/models --data runs/store '
    '--json all.json'
)
BY_SAC = './run train --mode policy --env arena --num-steps 20000 --name by_sac'
BY_DREAMER = (
    './run train --mode dreamer --env arena --config config/phases/dreamer_small.yaml '
    '--num-steps 20000 --name by_dreamer'
)
COMPARE = './run evaluate --mode dreamer --model by_dreamer --models runs/models'
IMAGINED = (
    './run evaluate --model robot-world_model --models runs/models --data runs/store '
    '--pictures runs/imagined'
)
TOUCH = './run collect --interactions 240 --episodes --out runs/bench'
TOUCHED = (
    '{ [ -d runs/bench ] || '
    './run collect --interactions 12 --interventions 1 --episodes --out runs/bench; }'
)
WORDS = './run train --mode vision_language --name words'
FOUND = './run evaluate --mode vision_language --model words --models runs/models --data world'
META = './run train --mode meta --data robots --name dynamics'
ADAPTED = (
    './run evaluate --mode meta --model dynamics --models runs/models --data robots '
    '--json adapted.json'
)
# What must have been done before, besides a demo.
AFTER = {
    './run evaluate --model cart --models runs/models': PPO,
    SCORE: ALL,
    IMAGINED: ALL,
    COMPARE: BY_DREAMER,
    ADAPTED: META,
    FOUND: WORDS,
}
# Long commands and what is run of them: the same, with less to do.
SHORTENED = {
    WORDS: f'{WORDS} --scenes 40 --max-updates 2',
    # Curves instead of robots: nothing has to be simulated.
    META: f'{META.replace("robots", "sinusoids")} --max-updates 20',
    ADAPTED: ADAPTED.replace('--data robots', '--data sinusoids'),
    './run demo': './run demo --quick --minutes 0.1 --demonstrations 300',
    './run demo --quick': './run demo --quick --out runs/latest --minutes 0.1',
    './run demo --out runs/latest --minutes 24': (
        './run demo --out runs/latest --minutes 0.1 --quick'
    ),
    './run test': './run test tests/test_registry.py -q',
    './run teleop': './run teleop --help',  # Keys are pressed in tests/commands/test_teleop.py.
    './run bags record --all --out runs/kitchen': (
        './run bags record --all --out runs/kitchen --stop-after 1'
    ),
    './run bags record /scan /odom --max-size 500 --max-duration 60 --zstd --out runs/piece': (
        './run bags record /scan /odom --max-size 500 --max-duration 60 --zstd --out runs/piece '
        '--stop-after 1'
    ),
    './run bags record --all --ring 30 --out runs/incidents': (
        './run bags record --all --ring 30 --out runs/incidents --stop-after 1'
    ),
    './run evaluate --model navigator@12 --baselines --json score.json': (
        './run evaluate --model navigator@12 --baselines --json score.json --episodes 2'
    ),
    './run evaluate --model navigator --task waypoint_course': (
        './run evaluate --model navigator --task waypoint_course --episodes 2'
    ),
    TRAIN: f'{TRAIN} --num-updates 20',
    ALL: f'{ALL} --num-updates 1',
    PPO: f'{PPO} --num-steps 2048',
    './run train --mode policy --env Pendulum-v1 --num-envs 1 --num-steps 10000 --name swing': (
        './run train --mode policy --env Pendulum-v1 --num-envs 1 --num-steps 1010 --name swing'
    ),
    SCORE: f'{SCORE} --episodes 1',
    BY_SAC: BY_SAC.replace('20000', '1010'),
    BY_DREAMER: BY_DREAMER.replace('20000', '1010'),
    COMPARE: f'{COMPARE} --episodes 1',
    IMAGINED: f'{IMAGINED} --horizon 5',
    './run train --phase robust_cloning --data demonstrations --robot arena --name robust': (
        './run train --phase robust_cloning --data demonstrations --robot arena --name robust '
        '--num-updates 20'
    ),
    './run collect --driver geodesic --noise 0.3 --steps 15000 --out demonstrations': (
        './run collect --driver geodesic --noise 0.3 --steps 300 --out demonstrations'
    ),
    './run collect --robot rover --steps 500 --out runs/rover': (
        './run collect --robot rover --steps 50 --out runs/rover'
    ),
    './run collect --robot parking_rover --steps 500 --out runs/parking': (
        './run collect --robot parking_rover --steps 50 --out runs/parking'
    ),
    TOUCH: TOUCHED,
}
# What a command must leave behind.
LEAVES = {
    WORDS: ['runs/models/words', 'runs/reports/words-vision_language.html'],
    META: ['runs/models/dynamics', 'runs/reports/dynamics-meta.html'],
    ADAPTED: ['adapted.json'],
    './run demo': ['runs/latest/report.html', 'runs/latest/metrics.json', 'runs/latest/bag'],
    './run evaluate --model navigator@12 --baselines --json score.json': ['score.json'],
    IMPORT: ['import.json', 'runs/store'],
    ALL: [f'runs/reports/robot-{phase}-{phase}.html' for phase in ('sac', 'world_model')],
    SCORE: ['all.json'],
    IMAGINED: ['runs/imagined/open_loop_1.png', 'runs/imagined/open_loop_1.gif'],
    './run bags trim runs/latest/bag/session_01 --out runs/end --last 5': ['runs/end'],
    './run bags recover runs/latest/bag/session_01 --out runs/sound': ['runs/sound'],
    './run bags export runs/store --format lerobot --out runs/lerobot': ['runs/lerobot/meta'],
    './run bags export runs/store --format robomimic --out runs/data.hdf5': ['runs/data.hdf5'],
    './run bags import runs/lerobot --robot arena --out runs/imported': ['runs/imported'],
    './run collect --robot rover --steps 500 --out runs/rover': ['runs/rover'],
    './run collect --robot parking_rover --steps 500 --out runs/parking': ['runs/parking'],
}
