// Package torture kills the built daemon at random moments while its world breaks
// around it, and checks that nobody who uses the served keys ever notices. It holds
// nothing that ships.
package torture
