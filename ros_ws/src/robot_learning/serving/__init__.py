"""A loaded model answering queries at control rate, and the gate behind it.

Importing this package registers every kind of policy; a new one adds its line here.
"""

from robot_learning.serving import dreamer_policy, policy, recurrent_policy

__all__ = ['dreamer_policy', 'policy', 'recurrent_policy']
