// Package torture kills the built daemon at random moments while its world breaks
// around it, and checks that nobody who uses the served keys ever notices. It holds
// nothing that ships.
//
// What is done, in which order and for how long is a plan made of one seed
// (plan_test.go), which is printed: ROTATORD_SEED repeats it. When the daemon and
// Vault get the processor in between is the machine's, so a repeated plan is the
// same trouble at very nearly the same moments, not the same run.
package torture
