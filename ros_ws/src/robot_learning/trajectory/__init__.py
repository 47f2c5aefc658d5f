"""Topics and files become episodes. Numpy, h5py and rosbags only."""
