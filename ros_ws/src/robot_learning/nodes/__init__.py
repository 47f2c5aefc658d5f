"""Thin ROS 2 shells over the other rooms; the only room that imports rclpy."""

import os

# Several processes share the cores: a second thread per matrix product makes all of them slower.
# Must be set before numpy is first imported.
for _name in ('OMP_NUM_THREADS', 'OPENBLAS_NUM_THREADS', 'MKL_NUM_THREADS'):
    os.environ.setdefault(_name, '1')
os.environ.setdefault('OMP_WAIT_POLICY', 'PASSIVE')
