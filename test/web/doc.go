// Package web opens the status page in a real Chromium: it looks at what a person
// sees, hears and types, with axe-core for the rules of accessibility.
package web
