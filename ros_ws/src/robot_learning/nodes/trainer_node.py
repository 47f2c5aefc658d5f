"""Learns from a growing store and publishes model versions.

rclpy spins on a thread of its own; learning has the main thread. Neither waits for the other.
"""

from __future__ import annotations

import dataclasses
import math
import signal
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import rclpy
from pydantic import NonNegativeInt
from pydantic.dataclasses import dataclass
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.node import Node
from rclpy.signals import SignalHandlerOptions
from robot_learning_interfaces.msg import ModelVersion, SegmentWritten, TrainingMetrics

from robot_learning import contract as contracts
from robot_learning.config import STRICT, Names
from robot_learning.errors import (
    ConfigError,
    DataError,
    ModelRefusedError,
    RobotLearningError,
    StoreError,
    TrainingError,
)
from robot_learning.features import FeatureBuilder
from robot_learning.model_signatures import read_signer
from robot_learning.model_store import ModelStore
from robot_learning.nodes import qos
from robot_learning.nodes.diagnostics import ERROR, OK, WARN, Diagnostics, Health
from robot_learning.nodes.parameters import declare_config
from robot_learning.nodes.train_requests import TrainRequest, TrainRequests
from robot_learning.phases import cpu, nsca_config, recipe
from robot_learning.phases.curves import Curves
from robot_learning.phases.devices import device_named
from robot_learning.phases.nsca_follower import NscaFollower
from robot_learning.phases.trainer import Progress, Trainer
from robot_learning.phases.training_session import Destination, follow_store
from robot_learning.trajectory.episode import Episode

_IDLE_S = 0.2
_REPORT_S = 1.0  # While nothing is learned.
_TELL_S = 10.0  # Between two lines of the log about what is waited for.
_PATIENCE_S = 60.0  # Without new steps or updates, before that is called wrong.


@dataclass(frozen=True, config=STRICT)
class TrainerNodeConfig:
    """What is learned, from what, and where results go."""

    robot: str = 'arena'  # Robot contract: a name in config/robots or the path of a YAML file.
    store: Path = Path('runs/store')  # Directory of recorded episodes to follow.
    models: Path = Path('runs/models')  # Directory of the model store.
    # Versions are published under this name, those of a world model under NAME-world_model.
    model_name: str = 'navigator'
    # Registered training phase, or nsca (all its phases), nsca_vision and so on; empty: only on
    # request by train_phase.
    phase: str = 'sac'
    images: Names = ()  # Picture fields to learn from besides those of the settings, camera,other.
    # YAML file with the phase's settings; empty: config/phases/PHASE.yaml, NSCA's nsca_robot.yaml.
    config: str = ''
    seed: NonNegativeInt = 0  # Of initial weights, sampling and noise.
    device: str = 'cpu'  # Where to compute: cpu, cuda, cuda:1 or auto.
    demonstrations: str = ''  # Store, HDF5 file or bag mixed into each batch; empty: none.
    sign_with: Path | None = None  # Private key that signs versions; empty: not signed.
    output: str = ''  # Directory of checkpoints and TensorBoard; empty: beside the models.


class _Wish(NamedTuple):
    """What shall be learned."""

    phase: str
    overrides: str = ''  # YAML text that replaces some settings.
    num_updates: int | None = None
    is_request: bool = False  # Somebody asked for it; else it goes on for ever.


class TrainerNode(Node):
    """Tells the world about a trainer and takes requests; `learn` does the work."""

    def __init__(self, **node_options: Any):
        super().__init__('trainer', **node_options)
        self._config = config = declare_config(self, TrainerNodeConfig)
        self._contract = contracts.load(config.robot)
        self._device = device_named(config.device)
        images: Sequence[str] = config.images
        if config.phase in nsca_config.NAMES:  # Mistakes are named at once, not when data comes.
            self._nsca_settings()
        elif config.phase:
            images = self._plan(config.phase).trainer.images
        self._demonstrations: Sequence[Episode] = ()
        if config.demonstrations:
            from robot_learning.trajectory.datasets import read_episodes  # Brings in rosbags.

            fields = (*FeatureBuilder(self._contract).fields, *images)
            path = Path(config.demonstrations)
            self._demonstrations = list(read_episodes(path, self._contract, fields))
        output = Path(config.output) if config.output else config.models.parent
        signer = None if config.sign_with is None else read_signer(config.sign_with)
        self._destination = Destination(config.models, config.model_name, output, signer)
        self._models = ModelStore(config.models)
        self._trainer: Trainer | NscaFollower | None = None
        self._phase = config.phase
        self._published_name = config.model_name  # Of the phase that learns.
        self._progress = Progress(detail='' if config.phase else 'Waiting for train_phase.')
        self._announced: tuple[str, int] | None = None
        self._reported_s = time.monotonic()  # When the learning thread last told its progress.
        self._told, self._told_s = '', -math.inf  # What it waits for, in the log.
        self._newest_step = (0, self._reported_s)  # Environment steps, and since when.
        self._metrics = self.create_publisher(TrainingMetrics, 'training_metrics', qos.NOTICE_QOS)
        self._versions = self.create_publisher(ModelVersion, 'model_version', qos.NOTICE_QOS)
        self.create_subscription(
            SegmentWritten, 'segment_written', self._on_segment_written, qos.NOTICE_QOS
        )
        self.requests = TrainRequests(self)
        Diagnostics(self, self._contract.robot).add('training', self._health)

    def learn(self, stop: threading.Event) -> None:
        """Follow the store, and serve requests in between, until `stop` is set."""
        has_failed = not self._config.phase
        while not stop.is_set():
            request = self.requests.take()
            if request is not None:
                self._serve(request, stop)
            elif has_failed:
                self._report(self._progress)
                self.requests.wait(_REPORT_S)
            else:
                has_failed = not self._follow(stop)

    def _follow(self, stop: threading.Event) -> bool:
        """Run the configured phase until stopped or requested otherwise; False: it failed."""
        try:
            self._train(
                _Wish(self._config.phase),
                lambda: stop.is_set() or self.requests.is_waiting,
                self._report,
            )
        except (TrainingError, DataError) as error:
            if str(error) != self._progress.detail:  # Else it was told as progress.
                self.get_logger().error(str(error))
            return False
        return True

    def _serve(self, request: TrainRequest, stop: threading.Event) -> None:
        def on_progress(progress: Progress) -> None:
            self._report(progress)
            request.report(progress)

        try:
            progress = self._train(
                _Wish(request.phase, request.overrides, request.num_updates, is_request=True),
                lambda: stop.is_set() or request.is_canceled,
                on_progress,
            )
            request.finish(progress, '')
        except RobotLearningError as error:
            self.get_logger().error(str(error))
            request.finish(self._progress, str(error))

    def _train(
        self,
        wish: _Wish,
        should_stop: Callable[[], bool],
        on_progress: Callable[[Progress], None],
    ) -> Progress:
        if wish.phase in nsca_config.NAMES:
            return self._run_nsca(wish, should_stop, on_progress)
        plan = self._plan(wish.phase, wish.overrides)
        destination = self._destination.of_phase(wish.phase)
        if wish.overrides:  # Another configuration cannot go on from the checkpoint.
            destination = dataclasses.replace(destination, output=None)
        ratio = math.inf if wish.is_request else None
        with destination.claimed(wish.phase):
            return self._run(plan, destination, wish.num_updates, ratio, should_stop, on_progress)

    def _run_nsca(
        self,
        wish: _Wish,
        should_stop: Callable[[], bool],
        on_progress: Callable[[Progress], None],
    ) -> Progress:
        """Train phases of NSCA; each is reported and announced under its own name."""
        config, destination = self._config, self._destination
        if wish.is_request:  # A round of its own, beside those that follow the store.
            destination = dataclasses.replace(destination, output=None)
        learner = NscaFollower(
            wish.phase,
            self._nsca_settings(wish.overrides),
            config.store,
            destination,
            self._contract,
            config.seed,
            self._device,
        )

        def report(progress: Progress) -> None:
            self._phase, self._published_name = learner.phase, learner.model_name
            on_progress(progress)

        self._trainer = learner
        try:
            with destination.claimed(wish.phase):
                if wish.is_request:
                    return learner.learn_once(wish.num_updates, should_stop, report)
                return learner.run(should_stop, report)
        finally:
            self._trainer = None

    def _nsca_settings(self, overrides: str = '') -> nsca_config.NscaConfig:
        """Return the settings of NSCA; those of the parameters where they are for NSCA."""
        path = self._config.config if self._config.phase in nsca_config.NAMES else ''
        return nsca_config.load(path or nsca_config.shipped('nsca_robot.yaml'), overrides)

    def _plan(self, phase: str, overrides: str = '') -> recipe.Recipe:
        """Return the settings of a phase; the file of the parameters is for the phase there."""
        path = self._config.config if phase == self._config.phase else ''
        plan = recipe.load(phase, path or None, overrides)
        images = tuple(dict.fromkeys((*plan.trainer.images, *self._config.images)))
        trainer = dataclasses.replace(plan.trainer, images=images)
        return recipe.Recipe(phase, plan.phase_config, trainer)

    def _run(
        self,
        plan: recipe.Recipe,
        destination: Destination,
        num_updates: int | None,
        train_ratio: float | None,
        should_stop: Callable[[], bool],
        on_progress: Callable[[Progress], None],
    ) -> Progress:
        config, phase = self._config, plan.phase_name
        self._phase, self._published_name = phase, destination.model_name
        trainer = follow_store(
            self._contract,
            plan,
            config.store,
            destination,
            config.seed,
            self._demonstrations,
            train_ratio,
            self._device,
        )
        curves: Curves | None = destination.curves(phase)
        self._trainer = trainer

        def report(progress: Progress) -> None:
            if curves is not None:
                curves.write(progress)
            on_progress(progress)

        try:
            return trainer.run(num_updates, should_stop, report)
        finally:
            self._trainer = None
            if curves is not None:
                curves.close()

    def _on_segment_written(self, msg: SegmentWritten) -> None:
        trainer = self._trainer
        if trainer is not None:
            trainer.wake.set()

    def _report(self, progress: Progress) -> None:
        """Publish where training stands; called on the learning thread."""
        now_s = time.monotonic()
        if progress.state == 'failed' and progress.detail != self._progress.detail:
            self.get_logger().error(progress.detail)
        is_new = progress.state == 'waiting' and progress.detail != self._told
        if is_new and now_s - self._told_s >= _TELL_S:  # The last of several is told in the end.
            self.get_logger().info(progress.detail)
            self._told, self._told_s = progress.detail, now_s
        self._progress, self._reported_s = progress, now_s
        msg = TrainingMetrics()
        msg.header.stamp = self.get_clock().now().to_msg()
        msg.phase = self._phase
        msg.state = progress.state
        msg.detail = progress.detail
        msg.update = progress.update
        msg.environment_step = progress.environment_step
        msg.updates_per_second = progress.updates_per_second
        msg.train_ratio = progress.train_ratio
        msg.target_train_ratio = progress.target_train_ratio
        msg.version = -1 if progress.version is None else progress.version
        msg.names = list(progress.metrics)
        msg.values = [float(value) for value in progress.metrics.values()]
        self._metrics.publish(msg)
        if progress.version is not None:
            self._announce(progress, progress.version)

    def _announce(self, progress: Progress, version: int) -> None:
        name = self._published_name
        if self._announced == (name, version):
            return
        self._announced = name, version
        try:
            manifest = self._models.manifest(name, version)
        except (StoreError, ModelRefusedError):
            return  # Deleted or damaged meanwhile, as after a long pause: nobody can load it.
        msg = ModelVersion()
        msg.header.stamp = self.get_clock().now().to_msg()
        msg.model = name
        msg.version = version
        msg.state = ModelVersion.PUBLISHED
        msg.update = progress.update
        msg.environment_step = progress.environment_step
        msg.sha256 = manifest['sha256']
        self._versions.publish(msg)

    def _health(self) -> Health:
        progress, now_s = self._progress, time.monotonic()
        if progress.environment_step != self._newest_step[0]:
            self._newest_step = (progress.environment_step, now_s)
        silence_s, step_silence_s = now_s - self._reported_s, now_s - self._newest_step[1]
        level, text = OK, progress.detail or progress.state
        if progress.state == 'failed':
            level, text = ERROR, f'{text} Look at the log of the trainer'
        elif progress.state == 'waiting' and self._phase and step_silence_s > _PATIENCE_S:
            level = WARN
            text = (
                f'has stopped learning: no new steps for {step_silence_s:.0f} s. Are the recorder '
                f'and the robot running?'
            )
        elif progress.state == 'training' and silence_s > _PATIENCE_S:
            level = WARN
            text = f'no update for {silence_s:.0f} s. Is the disk slow, or the machine busy?'
        return Health(
            level,
            text,
            {
                'phase': self._phase,
                'update': progress.update,
                'environment_step': progress.environment_step,
                'updates_per_second': progress.updates_per_second,
                'train_ratio': progress.train_ratio,
                'target_train_ratio': progress.target_train_ratio,
                'version': progress.version,
            },
        )


def main(args: list[str] | None = None) -> int:
    """Run the node until SIGINT or SIGTERM; return an exit code.

    Returns:
        0 when asked to stop, 2 for wrong parameters or settings, 1 when it cannot go on, for
        example because the disk is full: started again, it resumes.
    """
    cpu.settle()
    rclpy.init(args=args, signal_handler_options=SignalHandlerOptions.NO)
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    node: TrainerNode | None = None
    executor = SingleThreadedExecutor()
    spinning = threading.Thread(target=_spin, args=(executor, stop), name='ros', daemon=True)
    try:
        node = TrainerNode()
        executor.add_node(node)
        spinning.start()
        node.learn(stop)
    except RobotLearningError as error:
        print(f'{type(error).__name__}: {error}', file=sys.stderr)
        return 2 if node is None or isinstance(error, ConfigError) else 1
    finally:
        stop.set()
        if spinning.is_alive():
            executor.wake()
            spinning.join(timeout=5.0)
        executor.shutdown(timeout_sec=1.0)
        if node is not None:
            node.destroy_node()
        rclpy.try_shutdown()
    return 0


def _spin(executor: SingleThreadedExecutor, stop: threading.Event) -> None:
    try:
        while not stop.is_set() and rclpy.ok():
            executor.spin_once(timeout_sec=_IDLE_S)
    except ExternalShutdownException:
        stop.set()


if __name__ == '__main__':
    sys.exit(main())
