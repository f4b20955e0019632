//! One sandbox: its state directory, its processes, and how to reach them.
