"""Published checkpoints of TensorFlow and Paddle: readers of their files, and what their tensors are called here.

The readers need numpy only. Nothing in a file is executed, and tensors are read one at a time.
"""
