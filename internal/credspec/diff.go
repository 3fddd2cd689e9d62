package credspec

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Effect is what making a change does to the keys.
type Effect string

// The effects.
const (
	// EffectHarmless: the item is edited in place, at any time.
	EffectHarmless Effect = "harmless"
	// EffectKillsKeys: the portal invalidates both keys, so a new credential takes over.
	EffectKillsKeys Effect = "kills_both_keys"
)

// Field names one setting, by the config's words.
type Field string

// The fields, in the order of a diff.
const (
	FieldTitle       Field = "title"
	FieldFolder      Field = "folder"
	FieldTags        Field = "tags"
	FieldSnippet     Field = "snippet"
	FieldDescription Field = "description"
	FieldSharing     Field = "sharing"
	FieldProtect     Field = "protect"
	FieldPrivileges  Field = "privileges"
	FieldItems       Field = "items"
	FieldReferrers   Field = "referrers"
)

// EffectOf editing a field. Privileges: documented; item access: documented; referrers:
// from Esri's Python client, which finds both flags off after any update of the app.
func EffectOf(f Field) Effect {
	switch f {
	case FieldPrivileges, FieldItems, FieldReferrers:
		return EffectKillsKeys
	case FieldTitle, FieldFolder, FieldTags, FieldSnippet, FieldDescription, FieldSharing, FieldProtect:
		return EffectHarmless
	}
	return EffectKillsKeys
}

// Change is one setting that differs. From is what the portal has, To what is wanted;
// both are lists for the fields that are.
type Change struct {
	Field  Field    `json:"field"`
	From   []string `json:"from"`
	To     []string `json:"to"`
	Effect Effect   `json:"effect"`
}

// lists tells the fields that are lists: a change of one is what it gains and loses.
func (f Field) lists() bool {
	switch f {
	case FieldTags, FieldPrivileges, FieldItems, FieldReferrers:
		return true
	case FieldTitle, FieldFolder, FieldSnippet, FieldDescription, FieldSharing, FieldProtect:
	}
	return false
}

// Added and Removed are what a list gains and loses by the change.
func (c Change) Added() []string { return without(c.To, c.From) }

// Removed is what To lacks.
func (c Change) Removed() []string { return without(c.From, c.To) }

func without(list, others []string) []string {
	return slices.DeleteFunc(slices.Clone(list), func(s string) bool { return slices.Contains(others, s) })
}

// Changes are all settings that differ, in the order of the fields.
type Changes []Change

// Diff compares what is wanted with what the portal has. What the specification does
// not manage is left out; so are items that only the portal can name (Spec.Sourced).
func Diff(want *Spec, have Settings) Changes {
	return slices.DeleteFunc(Managed(want, have), func(c Change) bool { return slices.Equal(c.From, c.To) })
}

// Managed lists every setting that the specification manages, whether it differs or not.
func Managed(want *Spec, have Settings) Changes {
	s := have.clean()
	cs := Changes{}
	one := func(f Field, from, to string, managed bool) {
		if managed {
			cs = append(cs, Change{Field: f, From: []string{from}, To: []string{to}, Effect: EffectOf(f)})
		}
	}
	list := func(f Field, from, to []string, managed bool) {
		if managed {
			cs = append(cs, Change{Field: f, From: full(from), To: full(to), Effect: EffectOf(f)})
		}
	}
	one(FieldTitle, s.Title, want.Title, want.Title != "")
	one(FieldFolder, s.Folder, want.Folder, want.Folder != "")
	list(FieldTags, s.Tags, tidy(want.Tags), want.Tags != nil)
	one(FieldSnippet, s.Snippet, want.Snippet, want.Snippet != "")
	one(FieldDescription, s.Description, want.Description, want.Description != "")
	one(FieldSharing, string(s.Sharing), string(want.Sharing), want.Sharing != "")
	one(FieldProtect, strconv.FormatBool(s.Protected), strconv.FormatBool(want.Protect), true)
	list(FieldPrivileges, s.Privileges, tidy(want.Privileges), want.Privileges != nil)
	list(FieldItems, s.Items, tidy(lower(want.Items)), want.Items != nil && !want.Sourced())
	list(FieldReferrers, s.Referrers, want.HTTPReferrers(), want.Referrers != nil)
	return cs
}

// full is never nil, so that JSON has a list.
func full(list []string) []string {
	if list == nil {
		return []string{}
	}
	return list
}

// NeedReplacement tells whether some change would kill the keys.
func (cs Changes) NeedReplacement() bool {
	return slices.ContainsFunc(cs, func(c Change) bool { return c.Effect == EffectKillsKeys })
}

// Killing are the changes that need a replacement.
func (cs Changes) Killing() Changes {
	return slices.DeleteFunc(slices.Clone(cs), func(c Change) bool { return c.Effect != EffectKillsKeys })
}

// Line is the change in one line, for a history: title: "Old" -> "New".
func (c Change) Line() string {
	if c.Field.lists() {
		return string(c.Field) + ": " + strings.Join(slices.Concat(signed("-", c.Removed()), signed("+", c.Added())), " ")
	}
	return string(c.Field) + ": " + short(c.From) + " -> " + short(c.To)
}

func signed(sign string, list []string) []string {
	const most = 5
	var out []string
	for i, v := range list {
		if i == most {
			return append(out, fmt.Sprintf("(%s%d more)", sign, len(list)-most))
		}
		out = append(out, sign+shown(v))
	}
	return out
}

// short is one value in quotes; of a long text its beginning.
func short(values []string) string {
	const most = 60
	text := strings.Join(values, ", ")
	if r := []rune(text); len(r) > most {
		text = string(r[:most]) + "..."
	}
	return strconv.Quote(text)
}

// Harmless are the changes to make in place.
func (cs Changes) Harmless() Changes {
	return slices.DeleteFunc(slices.Clone(cs), func(c Change) bool { return c.Effect == EffectKillsKeys })
}

// Text is the difference for people, as plan shows it: a line for each value, with a
// sign before it and what the change does behind it. "" is no difference.
func (cs Changes) Text() string {
	var b strings.Builder
	for _, c := range cs {
		fmt.Fprintf(&b, "%s (%s)\n", c.Field, effectWords(c.Effect))
		from, to := c.From, c.To
		if c.Field.lists() {
			from, to = c.Removed(), c.Added()
		}
		for _, v := range from {
			fmt.Fprintf(&b, "  - %s\n", line(v, c.Field.lists()))
		}
		for _, v := range to {
			fmt.Fprintf(&b, "  + %s\n", line(v, c.Field.lists()))
		}
	}
	return b.String()
}

func effectWords(e Effect) string {
	switch e {
	case EffectHarmless:
		return "edited in place, harmless"
	case EffectKillsKeys:
		return "kills both keys: needs a replacement"
	}
	return string(e)
}

// line is a value on one line; a privilege with what it is called.
func line(v string, list bool) string {
	if p, ok := Lookup(v); ok && list && p.Scope != ScopeItem {
		return v + "  (" + p.Label + ")"
	}
	if !list && v == "" {
		return "(none)"
	}
	if strings.ContainsFunc(v, func(r rune) bool { return r < ' ' }) {
		return strconv.Quote(v)
	}
	return v
}
