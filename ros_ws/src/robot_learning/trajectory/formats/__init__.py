"""Data sets that others read and write: robomimic, LeRobot, npz, and MCAP bags to give back."""
