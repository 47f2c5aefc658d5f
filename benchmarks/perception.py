"""How well objects of the embedded world are seen in its camera's pictures, and what it costs.

Random layouts, four looks each, at several resolutions: colour, kind, bearing and distance of
every visible object by the size of its picture, against MuJoCo's own segmentation; the same in
other light, with noise and while driving; detections in empty worlds; CPU milliseconds of a
picture and of the detector on it; and what is remembered after one turn on the spot.

    OMP_NUM_THREADS=1 python benchmarks/perception.py [--layouts N] [--quick]
"""

from __future__ import annotations

import argparse
import itertools
import math
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from reporting import table, write

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / 'ros_ws' / 'src'), str(ROOT / 'tests' / 'serving')]

from object_scenes import Scenes, Truth, matched, num_extra, quarter_turns  # noqa: E402
from robot_learning.proportions import wilson_interval  # noqa: E402
from robot_learning.serving.camera_geometry import CameraGeometry  # noqa: E402
from robot_learning.serving.object_detector import Detection, ObjectDetector  # noqa: E402
from robot_learning.serving.object_memory import ObjectMemory  # noqa: E402

Array = np.ndarray[Any, Any]
Pair = tuple[Truth, Detection | None]
Row = dict[str, Any]

FIRST_SEED = 20_000_000  # The detector's few constants were chosen on other layouts.
RESOLUTIONS = ((64, 64), (96, 96), (128, 128))
SIZES = (1, 8, 15, 30, 60, 120, 10**6)  # Pixels that show of an object.
MIN_PIXELS, MAX_DISTANCE_M = 30, 2.5  # What the goals are about.
NUM_COMMANDS, STEPS_PER_COMMAND = 10, 2  # Of a drive.
NUM_VIEWS = 24  # Of a turn on the spot.
SAME_PLACE_M = 0.45  # Objects of a layout stand 0.6 m apart and more.


class Looked(NamedTuple):
    """What came of many pictures."""

    pairs: list[Pair]
    num_extra: int
    milliseconds: list[float]  # CPU time of each picture's detection.
    num_detections: list[int]  # In each picture.


def looks(scenes: Scenes, num_layouts: int) -> list[tuple[Array, list[Truth]]]:
    return [
        scenes.look(pose)
        for seed in range(FIRST_SEED, FIRST_SEED + num_layouts)
        for pose in quarter_turns(scenes.place(seed))
    ]


def drives(scenes: Scenes, num_layouts: int) -> list[tuple[Array, list[Truth]]]:
    """Look while the robot drives about at random, so that it pitches and bumps into things."""
    rng = np.random.default_rng(0)
    low, high = scenes.world.contract.action_low, scenes.world.contract.action_high
    pictures = []
    for seed in range(FIRST_SEED, FIRST_SEED + num_layouts):
        scenes.place(seed)
        for _ in range(NUM_COMMANDS):
            command = rng.uniform(low, high)
            for _ in range(STEPS_PER_COMMAND):
                if not scenes.world.ended:
                    scenes.world.step({'base': command})
                    pictures.append(scenes.observe())
    return pictures


def look_at(
    pictures: Sequence[tuple[Array, list[Truth]]],
    change: Callable[[Array], Array] = lambda image: image,
) -> Looked:
    detector = ObjectDetector(CameraGeometry())
    looked = Looked([], 0, [], [])
    extra = 0
    for image, truths in pictures:
        image = change(image)
        start = time.process_time()
        detections = detector.detect(image)
        looked.milliseconds.append((time.process_time() - start) * 1e3)
        looked.num_detections.append(len(detections))
        looked.pairs.extend(matched(detections, truths))
        extra += num_extra(detections, truths)
    return looked._replace(num_extra=extra)


def score(pairs: Sequence[Pair]) -> Row:
    """Shares of objects and errors of those that were seen."""
    seen = [(truth, d) for truth, d in pairs if d is not None]
    named = [(truth, d) for truth, d in seen if d.kind]
    num_right = sum(d.kind == truth.kind for truth, d in named)
    distance = [abs(d.distance_m - t.distance_m) / t.distance_m for t, d in seen] or [math.nan]
    bearing = [math.degrees(abs(d.bearing_rad - t.bearing_rad)) for t, d in seen] or [math.nan]
    count = max(len(pairs), 1)
    low, high = wilson_interval(num_right, len(pairs))
    return {
        'objects': len(pairs),
        'seen': len(seen) / count,
        'colour': sum(d.color == truth.color for truth, d in seen) / count,
        'kind': num_right / count,
        'kind_low': low,
        'kind_high': high,
        'kind_unsure': 1 - len(named) / max(len(seen), 1),
        'right_if_named': num_right / max(len(named), 1),
        'mean_confidence': float(np.mean([d.confidence for _, d in named] or [0.0])),
        'distance_error': float(np.median(distance)),
        'distance_p90': float(np.quantile(distance, 0.9)),
        'bearing_deg': float(np.median(bearing)),
        'bearing_p90_deg': float(np.quantile(bearing, 0.9)),
    }


def is_meant(truth: Truth) -> bool:
    return bool(truth.mask.sum() >= MIN_PIXELS) and truth.distance_m <= MAX_DISTANCE_M


def is_cut(truth: Truth) -> bool:
    mask = truth.mask
    return bool(mask[0].any() or mask[-1].any() or mask[:, 0].any() or mask[:, -1].any())


def groups(pairs: Sequence[Pair]) -> dict[str, list[Pair]]:
    meant = [pair for pair in pairs if is_meant(pair[0])]
    chosen = {
        f'goal: {MIN_PIXELS} pixels, {MAX_DISTANCE_M} m': meant,
        'goal, cut by the picture': [pair for pair in meant if is_cut(pair[0])],
        f'all within {MAX_DISTANCE_M} m': [p for p in pairs if p[0].distance_m <= MAX_DISTANCE_M],
    }
    for low, high in itertools.pairwise(SIZES):
        name = f'{low}-{high - 1} pixels' if high < SIZES[-1] else f'{low} pixels and more'
        chosen[name] = [pair for pair in pairs if low <= pair[0].mask.sum() < high]
    for kind in ('ball', 'cube', 'can'):
        chosen[f'goal, {kind}'] = [pair for pair in meant if pair[0].kind == kind]
    for color in ('red', 'green', 'blue', 'yellow'):
        chosen[f'goal, {color}'] = [pair for pair in meant if pair[0].color == color]
    return chosen


def confusion(pairs: Sequence[Pair]) -> dict[str, dict[str, int]]:
    """Count what each kind was called among those that the goals are about."""
    counts: dict[str, dict[str, int]] = {}
    for truth, detection in pairs:
        if is_meant(truth):
            called = 'unseen' if detection is None else detection.kind or 'unsure'
            row = counts.setdefault(truth.kind, {})
            row[called] = row.get(called, 0) + 1
    return counts


def costs(looked: Looked, scenes: Scenes) -> Row:
    milliseconds, counts = np.array(looked.milliseconds), np.array(looked.num_detections)
    scenes.picture()
    start = time.process_time()
    for _ in range(200):
        scenes.picture()
    return {
        'picture_ms': (time.process_time() - start) * 1e3 / 200,
        'detector_mean_ms': float(milliseconds.mean()),
        'no_object_ms': float(np.median(milliseconds[counts == 0])),
        'one_object_ms': float(np.median(milliseconds[counts == 1])),
        'mean_objects': float(counts.mean()),
        **{f'detector_p{q}_ms': float(np.percentile(milliseconds, q)) for q in (50, 90, 99)},
    }


def changes(rng: np.random.Generator) -> dict[str, Callable[[Array], Array]]:
    def lit(light: float) -> Callable[[Array], Array]:
        return lambda image: np.clip(image * light, 0, 255).astype(np.uint8)

    def noisy(image: Array) -> Array:
        return np.clip(image + rng.normal(0, 8, image.shape), 0, 255).astype(np.uint8)

    return {'light x 0.4': lit(0.4), 'light x 1.6': lit(1.6), 'noise of 8 levels': noisy}


def remember(scenes: Scenes, num_layouts: int) -> Row:
    """Turn once in each layout and compare what is remembered with what was to be seen."""
    detector = ObjectDetector(CameraGeometry())
    counts = dict.fromkeys(('shown', 'found', 'remembered', 'doubled', 'of_wrong_kind'), 0)
    for seed in range(FIRST_SEED, FIRST_SEED + num_layouts):
        memory = ObjectMemory(CameraGeometry())
        x, y, yaw = scenes.place(seed)
        shown: dict[tuple[str, str], Truth] = {}
        for view in range(NUM_VIEWS):
            pose = (x, y, yaw + view * math.tau / NUM_VIEWS)
            image, truths = scenes.look(pose)
            memory.note(detector.detect(image), pose, float(view))
            shown |= {(truth.kind, truth.color): truth for truth in truths if is_meant(truth)}
        counts['shown'] += len(shown)
        for (kind, color), truth in shown.items():
            found = memory.find(kind, color)
            is_near = found and abs(found.distance_m - truth.distance_m) < 0.15 * truth.distance_m
            counts['found'] += bool(is_near)
        seen = memory.seen()
        counts['remembered'] += len(seen)
        counts['doubled'] += sum(
            a.color == b.color and math.hypot(a.x - b.x, a.y - b.y) < SAME_PLACE_M
            for a, b in itertools.combinations(seen, 2)
        )
        true = [
            (*item.name.split('_'), *scenes.physics.object_position(item.name)[:2])
            for item in scenes.items
            if item.name in scenes.world.layout.objects
        ]
        counts['of_wrong_kind'] += sum(
            bool(o.kind)
            and not any(
                (kind, color) == (o.kind, o.color)
                and math.hypot(o.x - tx, o.y - ty) < SAME_PLACE_M
                for kind, color, tx, ty in true
            )
            for o in seen
        )
    return {'layouts': num_layouts, **counts}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--layouts', type=int, default=400, help='four pictures each')
    parser.add_argument('--quick', action='store_true', help='20 layouts, for a look')
    arguments = parser.parse_args()
    num_layouts = 20 if arguments.quick else arguments.layouts
    results: dict[str, Any] = {'layouts': num_layouts, 'views_per_layout': 4}
    cost_rows, score_rows, change_rows = [], [], []
    for height, width in RESOLUTIONS:
        scenes = Scenes(height, width)
        name = f'{height}x{width}'
        pictures = looks(scenes, num_layouts)
        looked = look_at(pictures)
        cost_rows.append({'picture': name, **costs(looked, scenes)})
        for group, pairs in groups(looked.pairs).items():
            score_rows.append({'picture': name, 'of': group, **score(pairs)})
        results[f'extra_{name}'] = looked.num_extra
        results[f'confusion_{name}'] = confusion(looked.pairs)
        if (height, width) == RESOLUTIONS[0]:
            others = {
                change: look_at(pictures, changed)
                for change, changed in changes(np.random.default_rng(0)).items()
            }
            others['driving about'] = look_at(drives(scenes, num_layouts // 4))
            for change, other in others.items():
                meant = [pair for pair in other.pairs if is_meant(pair[0])]
                change_rows.append({'change': change, **score(meant), 'extra': other.num_extra})
            results['memory'] = remember(scenes, num_layouts // 4)
        scenes.close()
    empty = Scenes(num_objects=0)
    results['empty_world_detections'] = look_at(looks(empty, num_layouts // 4)).num_extra
    empty.close()
    results |= {'costs': cost_rows, 'scores': score_rows, 'changes': change_rows}
    for rows in (cost_rows, score_rows, change_rows, [results['memory']]):
        table(rows)
    print(f'detections in empty worlds: {results["empty_world_detections"]}')
    write('perception', results, arguments.quick)
    return 0


if __name__ == '__main__':
    raise SystemExit(main())
