// Package settings compares what the config says of credentials that exist with what their
// portals have, on a schedule, and does about it what each credential's policy says: say
// it, edit what is harmless back, or take the portal's word as meant.
//
// What would kill keys is never edited here: it is handed to a function that replaces the
// credential, and without one only said. What was learnt last is kept with its time, in a
// store that outlives the process: a look that fails takes nothing away, and a difference
// that was taken as meant stays so. Nothing here sees a key.
package settings
