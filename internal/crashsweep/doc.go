// Package crashsweep runs the real engine on the real journal, the real portal
// client and the portal emulator in fake time, breaks every call of a rotation in
// every way, alone and in ordered pairs, and checks the invariants of design.md
// after every effect. It holds nothing that ships.
package crashsweep
