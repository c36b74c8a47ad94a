"""Running a program apart from the machine, with nothing but the kernel: standard library only, Linux, root or not.

``kernel`` and ``cgroup`` are the ground that the embedded runner (builder/probe/sandbox) stands on, too. ``launch`` is
a program of its own (``python -S -m builder.isolation STATUS``) for workers, which read models that nobody vouches for:

- the launcher stays outside: it owns the cgroups and the clock;
- the gate lives in new user, pid, net, ipc and uts namespaces, and is the parent of
- the keeper of processes, PID 1 inside: it builds a root of the few directories that the worker may see, starts the
  worker, and takes every process with it as it ends.

Nothing outlives the launcher (PR_SET_PDEATHSIG). It has no seccomp filter. What the kernel refuses is told, naming the
step, and then nothing was run. Sources: user_namespaces(7), pid_namespaces(7), mount_namespaces(7), cgroups(7).
"""
