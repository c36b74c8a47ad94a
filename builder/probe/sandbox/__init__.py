"""The embedded runner's own container engine: standard library only, Linux, as root or not.

``builder.probe.embedded`` starts it as a program of its own (``python -m builder.probe.sandbox``) and speaks to it over
two pipes. Three processes:

- the keeper stays outside: it owns the scratch directory and the memory cgroup and removes both at the end;
- the gate lives in the container's user, pid, net, ipc and uts namespaces: it is the parent of the container and
  carries the published port, whose listening socket was made outside, to the loopback address inside;
- the container is the image's own process: PID 1, as in production, below a read-only root.

Nothing outlives the caller: when the caller's end of the control pipe closes, however it ends, the keeper kills and
removes everything; when the keeper dies, the kernel kills the gate, and with it the container (PR_SET_PDEATHSIG).
A container that the caller released first goes on without it: until it ends by itself, or the keeper gets SIGTERM and
passes it on. Then its log stays in the scratch directory, with how it ended.

It has no seccomp filter. It refuses what the kernel refuses, naming the step. Sources: user_namespaces(7),
pid_namespaces(7), mount_namespaces(7), pivot_root(2), cgroups(7), runtime-spec config-linux.md (default file systems).
"""
