"""Which known shape stands where: compares what is seen with what each shape would look like.

Every shape is put on the floor where its outline has the same centre as the one that is seen.
Then two things tell the shapes apart: how much of both outlines is common, and whether the
brightness is that of such a surface. A matt surface under any number of distant lamps that all
reach it is as bright as a linear function of its normal, so no lamp has to be known.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

Array = np.ndarray[Any, Any]

KINDS = ('ball', 'cube', 'can')
BALL_RADIUS_M = 0.065
CUBE_SIDE_M = 0.12
CAN_RADIUS_M, CAN_HEIGHT_M = 0.06, 0.14
_HEIGHTS = {'ball': 2 * BALL_RADIUS_M, 'cube': CUBE_SIDE_M, 'can': CAN_HEIGHT_M}

_NUM_YAWS = 5  # Of the cube within a quarter turn.
_MAX_MOVES = 8
_SETTLED = 0.15  # Samples; one more at the rim moves the centre of a small outline as far.
_HORIZON = 0.02  # Rays that fall less are not followed to the floor.
_SHADING_WEIGHT = 0.75  # Of the brightness error, against overlap; flat from 0.5 to 1.


class Look(NamedTuple):
    """One picture's part round something: samples [N] with their rays."""

    rays: Array  # [N, 3] from the camera, in the base frame.
    is_object: Array  # [N] bool
    is_hidden: Array  # [N] bool, where something else is seen that may stand before it.
    brightness: Array  # [N] relative to the object's mean.
    spacing: float  # Between neighbouring rays.


class Fit(NamedTuple):
    """A shape at the place where it explains a look best."""

    kind: str
    x: float  # Of its centre in the base frame, metres.
    y: float
    score: float  # 1: explains every pixel and its brightness.


class _Surface(NamedTuple):
    """What K candidates of one shape would show."""

    is_hit: Array  # [K, N] bool
    normal: list[Array]  # x, y and z of the surface's outward direction, each [K, N].


def fit_shapes(look: Look, camera: Array) -> list[Fit]:
    """Return one fit per kind, best first; none where the object is not on the floor.

    Args:
        look: samples round the object, some of them on it.
        camera: [3] position of the camera in the base frame.
    """
    center = look.rays[look.is_object].mean(axis=0)
    if center[2] > -_HORIZON:
        return []
    fits = [_fit_kind(kind, look, camera, center) for kind in KINDS]
    return sorted(fits, key=lambda fit: fit.score, reverse=True)


def _fit_kind(kind: str, look: Look, camera: Array, center: Array) -> Fit:
    yaw = np.arange(_NUM_YAWS) * (math.pi / 2 / _NUM_YAWS) if kind == 'cube' else np.zeros(1)
    middle = _HEIGHTS[kind] / 2
    target = _on_plane(camera, center, middle)
    position = np.repeat(target[None], len(yaw), axis=0)  # [K, 2]
    columns = look.rays.T.copy()  # [3, N]
    for move in range(_MAX_MOVES):
        surface = _surface(kind, camera, position, yaw, columns)
        is_hit = surface.is_hit & ~look.is_hidden
        num_hits = np.count_nonzero(is_hit, axis=1)
        rays = is_hit @ look.rays / np.maximum(num_hits, 1)[:, None]  # [K, 3]
        rays[(num_hits == 0) | (rays[:, 2] > -_HORIZON)] = center
        is_settled = np.abs(rays - center).max(axis=1) < _SETTLED * look.spacing
        # Wrong yaws of a cube may never settle.
        if move == _MAX_MOVES - 1 or 2 * np.count_nonzero(is_settled) >= len(yaw):
            break
        position = position + target - _on_plane(camera, rays, middle)
    scores = _scores(look, _Surface(is_hit, surface.normal))
    best = int(scores.argmax())
    return Fit(kind, float(position[best, 0]), float(position[best, 1]), float(scores[best]))


def _scores(look: Look, surface: _Surface) -> Array:
    """Overlap less brightness error of each candidate, [K]."""
    both = surface.is_hit & look.is_object
    num_both = np.maximum(np.count_nonzero(both, axis=1), 1)
    overlap = num_both / np.count_nonzero(surface.is_hit | look.is_object, axis=1)
    terms = np.stack([both, *(axis * both for axis in surface.normal)], axis=2)  # [K, N, 4]
    brightness = look.brightness * both
    products = terms.transpose(0, 2, 1)
    # The small ridge decides between lamps that the visible sides cannot tell apart.
    lamps = np.linalg.solve(products @ terms + 1e-3 * np.eye(4), products @ brightness[..., None])
    error = brightness - (terms @ lamps)[..., 0]
    return overlap - _SHADING_WEIGHT * np.sqrt((error * error).sum(axis=1) / num_both)  # type: ignore[no-any-return]


def _on_plane(camera: Array, ray: Array, height: float) -> Array:
    """Where rays [..., 3] meet the level plane at that height, [..., 2]."""
    return camera[:2] + ray[..., :2] * ((height - camera[2]) / ray[..., 2:])  # type: ignore[no-any-return]


def _surface(kind: str, camera: Array, position: Array, yaw: Array, rays: Array) -> _Surface:
    """What candidates at positions [K, 2] show along rays [3, N]."""
    x, y = (camera[:2] - position).T[..., None]  # [K, 1] the camera seen from the candidates.
    if kind == 'ball':
        return _ball(x, y, camera[2] - BALL_RADIUS_M, rays)
    if kind == 'cube':
        return _cube(x, y, camera[2] - CUBE_SIDE_M / 2, yaw[:, None], rays)
    return _can(x, y, camera[2], rays)


def _ball(x: Array, y: Array, z: float, rays: Array) -> _Surface:
    a = (rays * rays).sum(axis=0)  # [N]
    b = x * rays[0] + y * rays[1] + z * rays[2]  # [K, N]
    discriminant = b * b - a * (x * x + y * y + z * z - BALL_RADIUS_M**2)
    along = (-b - np.sqrt(np.maximum(discriminant, 0.0))) / a
    normal = [(at + along * ray) / BALL_RADIUS_M for at, ray in zip((x, y, z), rays, strict=True)]
    return _Surface((discriminant > 0) & (along > 0), normal)


def _cube(x: Array, y: Array, z: float, yaw: Array, rays: Array) -> _Surface:
    """Slabs: inside all three pairs of planes at once (Kay & Kajiya 1986)."""
    cos, sin = np.cos(yaw), np.sin(yaw)
    ray_u, ray_v = cos * rays[0] + sin * rays[1], cos * rays[1] - sin * rays[0]
    starts = (cos * x + sin * y, cos * y - sin * x, z)
    half = CUBE_SIDE_M / 2
    enters, leaves, signs = [], [], []
    for start, ray in zip(starts, (ray_u, ray_v, rays[2]), strict=True):
        ray = np.where(np.abs(ray) < 1e-9, 1e-9, ray)
        sign = np.copysign(1.0, ray)
        enters.append((-half * sign - start) / ray)
        leaves.append((half * sign - start) / ray)
        signs.append(sign)
    last = np.maximum(np.maximum(enters[0], enters[1]), enters[2])
    first = np.minimum(np.minimum(leaves[0], leaves[1]), leaves[2])
    is_u, is_v = last == enters[0], last == enters[1]
    u, v = -signs[0] * is_u, -signs[1] * (is_v & ~is_u)
    w = -signs[2] * ~(is_u | is_v)
    return _Surface((last < first) & (last > 0), [cos * u - sin * v, sin * u + cos * v, w])


def _can(x: Array, y: Array, z: float, rays: Array) -> _Surface:
    a = rays[0] * rays[0] + rays[1] * rays[1]  # [N]
    b = x * rays[0] + y * rays[1]  # [K, N]
    discriminant = b * b - a * (x * x + y * y - CAN_RADIUS_M**2)
    along = (-b - np.sqrt(np.maximum(discriminant, 0.0))) / a
    height = z + along * rays[2]
    is_side = (discriminant > 0) & (along > 0) & (height > 0) & (height <= CAN_HEIGHT_M)
    fall = np.minimum(rays[2], -1e-9)
    to_top = (CAN_HEIGHT_M - z) / fall
    from_axis = (x + to_top * rays[0]) ** 2 + (y + to_top * rays[1]) ** 2
    is_top = (from_axis < CAN_RADIUS_M**2) & (to_top > 0)
    aside = [(at + along * ray) / CAN_RADIUS_M for at, ray in zip((x, y), rays[:2], strict=True)]
    normal = [aside[0] * ~is_top, aside[1] * ~is_top, is_top.astype(float)]
    return _Surface(is_side | is_top, normal)
