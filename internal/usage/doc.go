// Package usage knows what each credential is used for: requests and credits by service
// and UTC day, read from the portal or imported from a file, judged against the
// credential's own history and its budget.
//
// Contract:
//
//   - A day is a UTC day, always. It is full once it was read Settle after its end.
//   - What a reading says of a day replaces what earlier readings said of it: nothing is
//     ever added up over readings, so that catching up after downtime, overlapping
//     backfills and a day read while it was still running count nothing twice. The result
//     depends on when readings were made, never on the order in which they arrive.
//   - Unknown is not zero: a day that was never read counts neither as quiet nor as busy.
//   - Evaluate and Decide are pure. Runner reads at its own slow pace and can neither
//     block a rotation nor fail one; the only thing it ever orders is the cut-off of a
//     credential whose config says so, over the same commands that people have.
//
// docs/usage.md tells operators the same.
package usage
