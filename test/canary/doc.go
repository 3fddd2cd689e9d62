// Package canary runs the built daemon, at debug level, through everything that happens
// to a credential while portal, Vault, Slack, gates, hooks and who else is told throw every secret they were sent back
// at it, and greps all that comes out of it for every secret that ever was: no hit. It
// holds nothing that ships.
package canary
