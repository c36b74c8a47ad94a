"""Several processes behind one port: who starts and ends them, how they share connections, what they tell as one."""
