package main

import "syscall"

// forbidCores keeps a crash from leaving every key in memory in a core file, also where
// no systemd unit with LimitCORE=0 does. A limit of one's own can always be lowered.
func forbidCores() { _ = syscall.Setrlimit(syscall.RLIMIT_CORE, &syscall.Rlimit{}) }
