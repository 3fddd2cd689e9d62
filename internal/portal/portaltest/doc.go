// Package portaltest emulates one organisation of one ArcGIS portal product: accounts, items, registered apps, API key
// credentials with their two slots, sign-in, search and usage. It is a state machine behind an http.Handler.
//
// An Emulator starts no goroutine and opens no socket. Transport calls the handler in the caller's goroutine, so it works
// inside a testing/synctest bubble; over real sockets the same Emulator is an http.Handler. Every wait (latency, delay,
// slow body) is a timer that ends with the request's context. Time is time.Now plus the offset of MoveClock.
//
// What the portal is documented or seen to do is fixed. What is only guessed is a Switch, settable at start and while
// running, so that a client can be shown right under every guess; smaller guesses are the named constants in guesses.go.
// Faults (Inject, SetHook) break single requests: before the effect, after it, with the reply lost, or with the effect late.
// In manner "strict" a request that a careful client would not send is refused with a sentence saying why, and kept in
// Violations.
//
// docs/emulator.md lists switches, faults, operations and control endpoints; a test holds it to the code.
package portaltest
