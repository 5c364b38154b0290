"""What a process needs beside its work: memory, other processes, a quiet and quick TensorFlow."""
