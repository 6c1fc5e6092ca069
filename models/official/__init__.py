"""Published checkpoints of TensorFlow and Paddle: readers of their files, and what their tensors are called here.

numpy only. Nothing in a file is executed, and tensors are read one at a time.
"""
