// Package credspec knows a credential as configuration: what a person would set in the
// portal's own "New item, Developer credentials" pages.
//
// It holds the table of privileges per product, checks a specification before the
// portal refuses it (Validate), compares it with what the portal has (Diff), and says
// step by step how a credential is created (Creation).
// Everything here is pure: no request, no clock, no file. The caller reads, performs
// one step, writes its journal, and asks again; that is what makes it safe to be
// killed anywhere.
//
// Changing privileges, referrers or item access kills both keys of a credential
// (Esri: "editing privileges invalidates every key"), which is why
// such a change is never made in place but planned as a replacement.
//
// Facts about the portal come from Esri's pages: the privilege table of the tutorial
// "Create an API key", the glossary's "standard scope" and "personal scope", and the
// REST reference of registerApp and addItem.
package credspec
