"""Pure modules by family: tensors and plain numbers in, tensors out; no options, no devices, no file names."""
