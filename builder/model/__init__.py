"""What the user gave us: the inventory of a model directory, its signature, its model.yaml and its golden cases."""
