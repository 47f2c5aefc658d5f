import re
from html.parser import HTMLParser

import numpy as np
import pytest
from robot_learning.evaluation import report
from robot_learning.evaluation.run_record import (
    Curve,
    DrivenPath,
    EpisodePoint,
    MapPanel,
    MapScene,
    RatePoint,
    RunRecord,
    SensorFrame,
    Table,
)


class Page(HTMLParser):
    """Collects what the tests ask about and checks that tags close in order."""

    VOID = frozenset({'meta', 'img'})

    def __init__(self, text):
        super().__init__()
        self.images, self.text, self.sources, self._open = [], [], [], []
        self.feed(text)
        assert not self._open

    def handle_starttag(self, tag, attributes):
        values = dict(attributes)
        self.sources += [values[name] for name in ('src', 'href') if name in values]
        if tag == 'img':
            self.images.append(values)
        if tag not in self.VOID:
            self._open.append(tag)

    def handle_endtag(self, tag):
        assert self._open.pop() == tag

    def handle_data(self, data):
        if 'style' not in self._open:
            self.text.append(data)


@pytest.fixture(scope='module')
def record():
    rng = np.random.default_rng(0)
    episodes = [
        EpisodePoint(50 * i, i, rng.normal(), bool(rng.random() < i / 40), 50) for i in range(40)
    ]
    scene = MapScene(
        (2.5, 2.5),
        [np.array([[-1, 0], [1, 0], [1, 0.1], [-1, 0.1]])],
        [{'x': 1, 'y': 1, 'radius': 0.06, 'color': 'red', 'kind': 'ball'}],
        (-2, -2, 0),
        (2, 2),
        0.3,
    )
    path = np.array([[-2, -2], [0, -1], [2, 2]])
    panel = MapPanel('layout 7', scene, DrivenPath(path, False, 'collision'), None, path)
    angles = np.linspace(0, 2 * np.pi, 36, endpoint=False)
    image = rng.integers(0, 255, (64, 64, 3)).astype(np.uint8)
    return RunRecord(
        title='run',
        verdict='It reaches 9 < 10 & more',
        lead='',
        key_numbers=[('9', 'of 10')],
        success_curve=[RatePoint(0, 0, 0.1, 0, 0.2), RatePoint(2000, 40, 0.9, 0.8, 1.0)],
        baselines={'straight': 0.3, 'random': 0.01},
        episodes=episodes,
        policies=Table(['policy', 'success'], [['random', '1 %']]),
        maps=[panel],
        frames=[SensorFrame('step 1', image, np.full(36, np.inf), angles, 3.5, 0.2, 1.0)],
        latency_ms=rng.lognormal(0, 0.3, 500),
        versions=Table(['version'], [['1'], ['2']], {1}),
        curves=[Curve('sac/loss', [0, 10, 20], [3.0, 2.0, 1.0])],
        topics=Table(['topic', 'dropped'], [['scan', '0']]),
        gate=Table(['what', 'count'], [['altered', '3']]),
        commands=[('Go on', './run demo --out <dir>')],
        provenance=[('seed', '0')],
        notes=['A note.'],
    )


def test_the_page_is_well_formed_and_stands_alone(record):
    text = report.render(record)
    page = Page(text)
    assert all(source.startswith('data:image/') for source in page.sources)
    assert not re.search(r'url\(|@import|<script|<link', text)
    assert len(page.images) == 7  # Success, return, latency, curve, map, camera, lidar.
    assert all(image['alt'] for image in page.images)


def test_text_is_escaped(record):
    text = report.render(record)
    assert 'It reaches 9 &lt; 10 &amp; more' in text
    assert './run demo --out &lt;dir&gt;' in text


def test_every_part_appears_under_its_heading(record):
    text = ''.join(Page(report.render(record)).text)
    for heading in ('Success while', 'same layouts', 'camera and the lidar', 'Return per episode'):
        assert heading in text
    for heading in ('sensor message to command', 'Model versions', 'Action gate', 'Replay'):
        assert heading in text


def test_an_empty_record_leaves_its_parts_out():
    record = RunRecord('run', 'Nothing was measured.', '', [])
    page = Page(report.render(record))
    assert page.images == []
    assert 'Model versions' not in ''.join(page.text)


def test_the_same_record_gives_the_same_bytes(record):
    assert report.render(record) == report.render(record)


def test_writing_replaces_the_old_page_whole(tmp_path, record):
    path = tmp_path / 'report.html'
    path.write_text('old')
    report.write_report(path, record)
    assert path.read_text().startswith('<!doctype html>')
    assert list(tmp_path.iterdir()) == [path]
