// Package daemon drives internal/rotate: it decides when each credential is advanced, and by how many workers at once.
//
// One goroutine, the loop, owns every decision. Workers are given one credential each, for one call of Advance, and report
// back to the loop; so a credential is never in two workers. Every portal has a lane of its own with its own limit of
// workers: a portal that hangs fills its lane and no other. Within a lane the most urgent credential goes first.
//
// When a credential is advanced is the journal's business (Record.NextAt): timers and cron schedules only wake the loop, no
// timer runs longer than a minute, and the wall clock is read again after each. Downtime, sleep and daylight saving
// therefore shift work and lose none.
//
// A stop lets every started effect finish and be journalled, and waits for the first sink's commit of a key that is in
// memory only, for at most Options.StopTimeout.
//
// The admin socket (Serve) and the commands of cmd/rotatord share one set of verbs, Service.
package daemon
