"""Errors that people meet. Each says where, what was found, what was expected, what to do."""


class RobotLearningError(Exception):
    """Base of every error this package raises on purpose."""


class ConfigError(RobotLearningError):
    """A configuration file or parameter has wrong keys, types or values."""


class ContractError(ConfigError):
    """A robot contract contradicts itself or does not match what it is used with."""


class MessageError(RobotLearningError):
    """A message cannot be turned into the array that the contract promises."""


class NotEnoughDataError(RobotLearningError):
    """Data holds fewer steps, episodes or files than what was asked of it."""


class DataError(RobotLearningError):
    """A bag, segment or data set is broken or has an unexpected layout."""


class StoreError(RobotLearningError):
    """A trajectory store or model store cannot be read or written."""


class InUseError(StoreError):
    """Another process has what only one may have; when it has ended, trying again helps."""


class ModelRefusedError(RobotLearningError):
    """A model version failed its checks and must not be served."""


class TrainingError(RobotLearningError):
    """Learning cannot go on, for example because a loss is not finite."""


class SimulationError(RobotLearningError):
    """The simulated world was asked for something impossible."""


class WorldControlError(SimulationError):
    """A simulator elsewhere did not do what it was told: no answer, a refusal, or no effect."""


class EnvironmentSetupError(RobotLearningError):
    """The machine lacks something; the message names what and how to get it."""


class ProcessError(RobotLearningError):
    """A process of the system ended or never came up; says which and what it said last."""


class SignatureError(ModelRefusedError):
    """A model version is not signed by anybody trusted; says nothing about how it drives."""


class KeyFileError(RobotLearningError):
    """A signing key or the list of trusted keys cannot be read, written or relied on."""


class ReplicationError(RobotLearningError):
    """A file from another host is refused, or this host cannot take part."""


class CommandError(RobotLearningError):
    """A command, or code that stands for one, asks for what is not allowed or not possible."""
