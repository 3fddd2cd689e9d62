// Package journal is the durable record of every credential's rotation, in one
// SQLite file: the current record of each credential, an append-only history of
// its events, and three small tables of state that outlives a restart.
//
// Contract:
//
//   - What Save returned without an error is on disk: the write-ahead log is synced
//     at every commit, which saves that come together share. A save that has begun
//     is finished whatever its context does, so that its outcome is never in doubt.
//   - Save is a compare-and-swap on the record's epoch. Of two writers with the same
//     epoch exactly one wins; the other gets rotate.KindConflict.
//   - Events are only ever added. Triggers refuse to change or delete one, and a hash
//     chain per credential shows it if somebody did (Verify).
//   - No key is in it: neither rotate.Record nor rotate.Event has a field for one.
//   - A damaged file, a foreign file, a newer schema and a file that others may write
//     are errors that name the cure. Nothing is created in place of what was there.
//
// docs/journal.md tells operators the same.
package journal
