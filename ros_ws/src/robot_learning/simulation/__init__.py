"""The embedded world behind reset and step; tasks; domain randomisation."""

from robot_learning.simulation import graphics

# MuJoCo reads MUJOCO_GL while it is imported, so the choice is made before any module here.
GRAPHICS_BACKEND = graphics.select_backend()
