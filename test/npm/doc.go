// Package npm holds the conformance test of the portal emulator: Esri's own JavaScript clients, installed unchanged by
// "make npm", run against it by conformance.mjs.
package npm
