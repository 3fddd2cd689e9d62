// Package web is the status page: what is wrong, what comes next, and everything that
// is known of each credential, for a person who was woken up.
//
// Contract: it reads and never changes anything; it asks no portal and no sink, so
// that opening it costs the daemon nothing; it shows fingerprints and has no type that
// could hold a key. Every page is one answer of HTML with one style sheet: no script,
// no build step, nothing from another host. Links are relative, so that it works
// behind a proxy at any path. What it says of a credential is what `rotatord status`
// says, because both are made from the same status; /status.json is that output itself.
//
// New compiles the templates and reads the two pages that it explains words with;
// a request is snapshot → model → template, with no state in between.
package web
