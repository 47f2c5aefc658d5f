"""AIME: a recurrent autoencoder of video with a Dirichlet-process mixture as its prior."""
