"""What is trained: the contract with a model, and the files that hold its weights."""
