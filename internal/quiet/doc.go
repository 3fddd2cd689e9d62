// Package quiet asks whether anybody still uses a previous key, and lets others have a
// say in a rotation: consumers that acknowledge the key they run, commands, and HTTP
// services. Its gates and hooks implement rotate.Gate and rotate.Hook.
//
// Contract:
//
//   - Unknown is not quiet. What cannot be asked, does not answer in time, or answers in
//     another form than docs/gates.md says, is an error and never a yes.
//   - An acknowledgement binds to a key's fingerprint. One that names a generation alone
//     is bound when it comes, to the key that has that number then.
//   - No key leaves rotatord here: the questions have no field for one, the environment of
//     a command is made anew, and a value that looks like a key is not kept or repeated
//     when somebody sends one.
//
// Two things live here: what is asked (Acks, Gate, Hook) and what listens (Server, which
// takes acknowledgements over TLS and does nothing else).
package quiet
