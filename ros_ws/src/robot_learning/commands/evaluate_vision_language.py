"""The part of `evaluate` that scores a dual encoder on pictures it has not learned from."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich import box
from rich.table import Table

from robot_learning.commands import vision_language_data as source
from robot_learning.commands.report_output import console
from robot_learning.language.intent_scores import bootstrap, expected_calibration_error
from robot_learning.proportions import share
from robot_learning.serving.grounding import Found, GroundingModel, build_grounding_model
from robot_learning.simulation.rendered_scenes import VisibleObject
from robot_learning.trajectory.captioned_images import Captioned, CaptionedImages

Array = np.ndarray[Any, Any]
_CHOICES = 50  # Scenes, or captions, that one is retrieved from.
_NUM_SCENES = 300  # With 12 phrases each.
_TIMED = 50  # Pictures.
_FOUND = 0.5  # Confidence from which a phrase counts as found.
_RANKS = (1, 5, 10)
_SORTS = ('name', 'relation', 'extreme')


def evaluate_vision_language(
    tensors: Mapping[str, Array],
    manifest: Mapping[str, Any],
    where: str,
    data: Sequence[Path],
    num_scenes: int = _NUM_SCENES,
) -> dict[str, Any]:
    """Print how well pictures and words find each other and return everything as plain data.

    Args:
        tensors: of the version.
        manifest: of the version.
        where: what to call the version.
        data: folders, sets by name, or `world`; nothing: the world.
        num_scenes: rendered of the world.

    Raises:
        DataError: data cannot be read.
        EnvironmentSetupError: this machine cannot render.
        ModelRefusedError: the version is no dual encoder.
    """
    model = build_grounding_model(tensors, manifest, where)
    provenance = manifest.get('provenance', {})
    result: dict[str, Any] = {}
    paths = data or [Path(source.WORLD)]
    if any(str(path) == source.WORLD for path in paths):
        told = source.told_scenes(num_scenes, int(provenance.get('seed', 0)), source.MEASURED)
        result['world'] = world_scores(model, told)
    for images in source.read_folders(paths):
        rows, which = source.unseen(images, provenance.get('sources', []))
        result[images.name] = {'measured_on': which, **_folder_scores(model, images, rows)}
    _print(result)
    return result


def world_scores(model: GroundingModel, told: Sequence[source.Told]) -> dict[str, Any]:
    """Score retrieval and grounding on scenes whose objects are known."""
    seconds: list[tuple[float, float]] = []
    answers: list[tuple[str, bool, bool, float]] = []  # Sort, is there, is right, confidence.
    overlaps: list[float] = []
    images = []
    for each in told:
        begun = time.perf_counter()
        look = model.look(each.scene.image)
        looked = time.perf_counter()
        found = model.find(look, [phrase.text for phrase in each.phrases])
        done = time.perf_counter()
        if each.phrases:
            seconds.append((looked - begun, (done - looked) / len(each.phrases)))
        images.append(model.image_embedding(look))
        for phrase, place in zip(each.phrases, found, strict=True):
            thing = None if phrase.target is None else each.scene.objects[phrase.target]
            is_right = thing is not None and _is_on(place, thing)
            answers.append((phrase.sort, thing is not None, is_right, place.confidence))
            if thing is not None:
                overlaps.append(_overlap(place, thing))
    looks, finds = np.array(seconds).T * 1e3
    cpu_ms = _processor_ms(model, told[0])
    return {
        'scenes': len(told),
        'retrieval': _scene_retrieval(model, told, np.stack(images)),
        'grounding': _grounding(answers, np.array(overlaps)),
        'latency_ms': {
            'picture_p50': float(np.percentile(looks, 50)),
            'phrase_p50': float(np.percentile(finds, 50)),
            'both_p50': float(np.percentile(looks + finds, 50)),
            'both_p99': float(np.percentile(looks + finds, 99)),
            'both_processor': cpu_ms,
        },
    }


def _processor_ms(model: GroundingModel, told: source.Told) -> float:
    """Return the processor time of one picture with one phrase; others on the machine count less.

    The phrase is a new one each time, so that it is read, too.
    """
    begun = time.process_time()
    for number in range(_TIMED):
        model.find(model.look(told.scene.image), [f'the red cube left of can {number}'])
    return 1e3 * (time.process_time() - begun) / _TIMED


def _grounding(
    answers: Sequence[tuple[str, bool, bool, float]], overlaps: Array
) -> dict[str, Any]:
    sort = np.array([answer[0] for answer in answers])
    is_there, is_right = (np.array([answer[n] for answer in answers], bool) for n in (1, 2))
    confidence = np.array([answer[3] for answer in answers])
    is_found = confidence >= _FOUND
    return {
        'phrases': len(answers),
        'accuracy': share(is_right[is_there]),
        'accuracy_by_sort': {name: share(is_right[sort == name]) for name in _SORTS},
        'found_of_those_there': share(is_found[is_there]),
        'right_of_those_found': share(is_right[is_found]),
        'refused_of_those_absent': share(~is_found[~is_there]),
        'overlap': _resampled(overlaps),
        'calibration_error': expected_calibration_error(confidence, is_right),
    }


def _scene_retrieval(
    model: GroundingModel, told: Sequence[source.Told], images: Array
) -> dict[str, Any]:
    """Take groups of scenes whose captions all differ; find one's caption among the others'."""
    texts = [each.captions[0] for each in told]
    groups: list[list[int]] = [[]]
    for number, text in enumerate(texts):
        if text not in {texts[other] for other in groups[-1]}:
            groups[-1].append(number)
        if len(groups[-1]) == _CHOICES:
            groups.append([])
    full = [group for group in groups if len(group) == _CHOICES] or groups[:1]
    to_text, to_image = [], []
    for group in full:
        embedded = np.stack([model.text_embedding(texts[number]) for number in group])
        similarity = images[group] @ embedded.T
        same = np.eye(len(group), dtype=bool)
        to_text.append(_rank_of_right(similarity, same))
        to_image.append(_rank_of_right(similarity.T, same))
    return {
        'choices': len(full[0]),
        'chance': 1 / len(full[0]),
        'caption_of_picture': _recalls(np.concatenate(to_text)),
        'picture_of_caption': _recalls(np.concatenate(to_image)),
    }


def _folder_scores(
    model: GroundingModel, images: CaptionedImages, rows: Sequence[Captioned]
) -> dict[str, Any]:
    embedded = np.stack([model.image_embedding(model.look(images.load(r.name))) for r in rows])
    result: dict[str, Any] = {'pictures': len(rows)}
    if images.classes:
        return result | _zero_shot(model, images, rows, embedded)
    texts = sorted({text for row in rows for text in row.captions})
    place = {text: number for number, text in enumerate(texts)}
    is_own = np.zeros((len(rows), len(texts)), bool)
    for number, row in enumerate(rows):
        is_own[number, [place[text] for text in row.captions]] = True
    similarity = embedded @ np.stack([model.text_embedding(text) for text in texts]).T
    return result | {
        'captions': len(texts),
        'caption_of_picture': {
            'chance_at_5': _chance(is_own, 5),
            **_recalls(_rank_of_right(similarity, is_own)),
        },
        'picture_of_caption': {
            'chance_at_5': _chance(is_own.T, 5),
            **_recalls(_rank_of_right(similarity.T, is_own.T)),
        },
    }


def _zero_shot(
    model: GroundingModel, images: CaptionedImages, rows: Sequence[Captioned], embedded: Array
) -> dict[str, Any]:
    """Name pictures by the description of a class that is most like them."""
    names = sorted(images.classes)
    texts = np.stack([model.text_embedding(images.classes[name]) for name in names])
    is_own = np.array([[row.group == name for name in names] for row in rows])
    return {
        'classes': len(names),
        'chance': 1 / len(names),
        'by_description': _recalls(_rank_of_right(embedded @ texts.T, is_own)),
    }


def _is_on(found: Found, thing: VisibleObject) -> bool:
    """Tell whether the centre that was found is on the object's visible pixels."""
    row, column = int(found.y), int(found.x)
    height, width = thing.mask.shape
    return 0 <= row < height and 0 <= column < width and bool(thing.mask[row, column])


def _overlap(found: Found, thing: VisibleObject) -> float:
    height, width = thing.mask.shape
    left, upper, right, lower = (
        side * height + half / 2
        for side, half in zip(thing.box, (width, height, width, height), strict=True)
    )
    across = min(found.x + found.width / 2, right) - max(found.x - found.width / 2, left)
    along = min(found.y + found.height / 2, lower) - max(found.y - found.height / 2, upper)
    both = max(across, 0.0) * max(along, 0.0)
    areas = found.width * found.height, (right - left) * (lower - upper)
    return float(both / (sum(areas) - both))


def _rank_of_right(similarity: Array, is_own: Array) -> Array:
    """Return how many wrong ones come before the best right one, for each row."""
    best = np.where(is_own, similarity, -np.inf).max(1, keepdims=True)
    rank: Array = ((similarity > best) & ~is_own).sum(1)
    return rank


def _recalls(rank: Array) -> dict[str, Any]:
    return {f'recall_at_{count}': share(rank < count) for count in _RANKS}


def _chance(is_own: Array, count: int) -> float:
    """Return the recall of a guess: that none of `count` drawn ones is right, taken from 1."""
    total = is_own.shape[1]
    missed = [
        float(np.prod([(total - own - n) / (total - n) for n in range(min(count, total))]))
        for own in is_own.sum(1).tolist()
    ]
    return 1 - float(np.mean(missed))


def _resampled(values: Array) -> dict[str, Any] | None:
    if not len(values):
        return None
    found = bootstrap(lambda rows: float(values[rows].mean()), len(values))
    return {'value': found.value, 'count': len(values), 'interval_95': [found.low, found.high]}


def _print(result: Mapping[str, Any]) -> None:
    table = Table(box=box.SIMPLE, title='on pictures it has not learned from, 95 % intervals')
    for column in ('data', 'figure', 'value', 'count'):
        table.add_column(column, justify='right' if column in ('value', 'count') else 'left')
    for name, scores in result.items():
        for label, score in _shares('', scores):
            low, high = score['interval_95']
            value = f'{score["value"]:.3f} ({low:.3f}–{high:.3f})'
            table.add_row(name, label, value, str(score['count']))
    console().print(table)
    if 'world' in result:
        latency = result['world']['latency_ms']
        print(
            f'{latency["picture_p50"]:.1f} ms to look at a picture and '
            f'{latency["phrase_p50"]:.2f} ms per phrase by the clock; both take '
            f'{latency["both_processor"]:.1f} ms of a processor.'
        )


def _shares(label: str, scores: Mapping[str, Any]) -> list[tuple[str, Mapping[str, Any]]]:
    found: list[tuple[str, Mapping[str, Any]]] = []
    for name, score in scores.items():
        path = f'{label} {name.replace("_", " ")}'.strip()
        if isinstance(score, Mapping):
            found += [(path, score)] if 'interval_95' in score else _shares(path, score)
    return found
