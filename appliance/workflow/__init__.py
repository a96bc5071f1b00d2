"""The workflow engine: the master workflow, sequences of activities around its moves, and the durable runner."""
