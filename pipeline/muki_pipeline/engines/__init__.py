"""Where items of work are done: in this process, in threads or processes of this machine, or on a Ray cluster."""
