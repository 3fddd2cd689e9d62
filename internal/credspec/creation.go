package credspec

import "time"

// Act is the one thing to do next. Each is one request, or one write of ours.
type Act string

// The acts of a creation, in their order.
const (
	ActWait     Act = "wait"      // until Step.Until, then look again: something sent may still happen
	ActFolder   Act = "folder"    // make the folder
	ActItem     Act = "item"      // add the item, with the mark on it
	ActKeep     Act = "keep"      // note the id of an item that was found
	ActRemove   Act = "remove"    // delete Step.Item, a second item of ours without an app
	ActRegister Act = "register"  // register the app with all privileges, grants and referrers
	ActAdapt    Act = "adapt"     // edit the app, which has no key yet: the specification was changed since
	ActTidy     Act = "tidy"      // take the mark off the tags; it stays among the type keywords
	ActProtect  Act = "protect"   // against deletion
	ActShare    Act = "share"     // as specified
	ActRecord   Act = "record"    // write the id into the config
	ActFirstKey Act = "first_key" // an ordinary rotation of a credential without a key
	ActDone     Act = "done"
	ActStuck    Act = "stuck" // nothing is safe: a person decides, Step.Why says about what
)

// Step is what to do next and why.
type Step struct {
	Act   Act       `json:"act"`
	Item  string    `json:"item,omitempty"` // that it is done to
	Until time.Time `json:"until,omitzero"` // of a wait
	Why   string    `json:"why"`
	// Extra are items of ours that nothing uses: they are told to people until they are gone.
	Extra []string `json:"extra,omitempty"`
}

// Creation is what the journal keeps of one creation. It is written before each request
// that makes something (Begin) and after its answer (End), so that a process that is
// killed anywhere finds what it has made.
type Creation struct {
	// Mark is a word that nothing else has (an operation's ULID). The item carries it from
	// its first moment on.
	Mark string `json:"mark"`
	Item string `json:"item,omitempty"`
	// Adding, Registering and Adapting are when a request was sent whose answer is not known; zero is none.
	Adding      time.Time `json:"adding,omitzero"`
	Registering time.Time `json:"registering,omitzero"`
	Adapting    time.Time `json:"adapting,omitzero"`
}

// Candidate is an item that carries the mark.
type Candidate struct {
	Item   string
	HasApp bool
}

// Seen is what was read for a step, all of it afresh; a listing from the search index does
// not count. Settings and what follows are of the item that Creation or the one candidate
// names, and zero while there is none.
type Seen struct {
	Folder     bool        // the specification's folder is there, or none is wanted
	Candidates []Candidate // oldest first
	Gone       bool        // Creation names an item, and the portal says that it does not exist
	HasApp     bool
	Active     bool // some slot holds a key
	Adapted    bool // the app was edited to the specification just now, and the portal said that it did
	Settings   Settings
	Marked     bool // the mark is still among the tags
	Recorded   bool // the config names the item
	Keyed      bool // every sink serves a proved key of it
}

// Next says what a creation does next. horizon is how long a request of unknown outcome may
// still take effect.
func (c Creation) Next(spec *Spec, seen Seen, now time.Time, horizon time.Duration) Step {
	step := c.next(spec, seen, now, horizon)
	kept := c.Item
	if step.Act == ActKeep {
		kept = step.Item
	}
	for _, d := range seen.Candidates {
		if d.Item != kept && kept != "" {
			step.Extra = append(step.Extra, d.Item)
		}
	}
	return step
}

func (c Creation) next(spec *Spec, seen Seen, now time.Time, horizon time.Duration) Step {
	if c.Item == "" {
		return c.find(seen, now, horizon)
	}
	if seen.Gone {
		return Step{Act: ActStuck, Item: c.Item, Why: "the item was deleted at the portal while the credential was being created"}
	}
	if step, ok := c.surplus(seen); ok {
		return step
	}
	if !seen.HasApp {
		if until, flying := pending(c.Registering, now, horizon); flying {
			return Step{Act: ActWait, Item: c.Item, Until: until, Why: "whether the app was registered is not known yet"}
		}
		return Step{Act: ActRegister, Item: c.Item, Why: "the item has no app"}
	}
	if until, flying := pending(c.Adapting, now, horizon); flying {
		return Step{Act: ActWait, Item: c.Item, Until: until, Why: "whether the app was edited is not known yet, and it would kill a key"}
	}
	// What a key would die of is a replacement's matter once there is one.
	if cs := Diff(spec, seen.Settings); !seen.Keyed && !seen.Active && cs.NeedReplacement() {
		if seen.Adapted {
			return Step{Act: ActStuck, Item: c.Item, Why: "the portal registered something else than was asked for:\n" + cs.Text()}
		}
		return Step{Act: ActAdapt, Item: c.Item, Why: "the app is not as specified, and has no key yet"}
	}
	return c.finish(spec, seen)
}

// find or make the item. Nothing is sent again while an earlier request may still happen.
func (c Creation) find(seen Seen, now time.Time, horizon time.Duration) Step {
	if len(seen.Candidates) > 0 {
		keep, ok := choose(seen.Candidates)
		if !ok {
			return Step{Act: ActStuck, Why: "two items of one creation have an app; keep one, and delete the other at the portal", Extra: ids(seen.Candidates)}
		}
		return Step{Act: ActKeep, Item: keep, Why: "an item that was asked for is there"}
	}
	if until, flying := pending(c.Adding, now, horizon); flying {
		return Step{Act: ActWait, Until: until, Why: "whether the item was made is not known yet"}
	}
	if !seen.Folder {
		return Step{Act: ActFolder, Why: "the folder is missing"}
	}
	return Step{Act: ActItem, Why: "no item carries the mark"}
}

// choose the item to go on with: that with an app, else the oldest.
func choose(list []Candidate) (item string, ok bool) {
	item, apps := list[0].Item, 0
	for _, d := range list {
		if d.HasApp {
			item, apps = d.Item, apps+1
		}
	}
	return item, apps <= 1
}

// surplus is a second item of this creation, which came late. One with an app may have a
// key that somebody uses.
func (c Creation) surplus(seen Seen) (Step, bool) {
	for _, d := range seen.Candidates {
		switch {
		case d.Item == c.Item:
		case d.HasApp:
			return Step{Act: ActStuck, Item: d.Item, Why: "a second item of this creation has an app; delete one of the two at the portal"}, true
		default:
			return Step{Act: ActRemove, Item: d.Item, Why: "a second item of this creation came late"}, true
		}
	}
	return Step{}, false
}

// finish what is harmless and can be repeated, then the id, then the key.
func (c Creation) finish(spec *Spec, seen Seen) Step {
	to := func(a Act, why string) Step { return Step{Act: a, Item: c.Item, Why: why} }
	switch {
	case seen.Marked:
		return to(ActTidy, "the mark is still among the tags")
	case spec.Protect && !seen.Settings.Protected:
		return to(ActProtect, "the item can be deleted by hand")
	case spec.Sharing != "" && seen.Settings.Sharing != spec.Sharing:
		return to(ActShare, "the item is shared otherwise")
	case !seen.Recorded:
		return to(ActRecord, "the config does not name the item")
	case !seen.Keyed:
		return to(ActFirstKey, "no sink serves a key of it")
	}
	return to(ActDone, "the credential is there, and its key is served")
}

func ids(list []Candidate) []string {
	out := make([]string, len(list))
	for i, d := range list {
		out[i] = d.Item
	}
	return out
}

// pending tells whether a request that was sent then may still take effect, and until when.
func pending(sent, now time.Time, horizon time.Duration) (until time.Time, flying bool) {
	until = sent.Add(horizon)
	return until, !sent.IsZero() && now.Before(until)
}

// sent is where the time of a step's request is kept; all but three can be repeated at any time.
func (c *Creation) sent(a Act) *time.Time {
	switch a {
	case ActItem:
		return &c.Adding
	case ActRegister:
		return &c.Registering
	case ActAdapt:
		return &c.Adapting
	default:
		return new(time.Time)
	}
}

// Begin is what to journal before the step's request is sent. A failed write means: do not send.
func (c Creation) Begin(s Step, now time.Time) Creation {
	*c.sent(s.Act) = now
	return c
}

// End is what to journal after a clean answer; item is what ActItem made. Where the outcome
// is unknown nothing is journalled: Next waits and looks.
func (c Creation) End(s Step, item string) Creation {
	*c.sent(s.Act) = time.Time{}
	switch s.Act {
	case ActItem:
		c.Item = item
	case ActKeep:
		c.Item, c.Adding = s.Item, time.Time{}
	default:
	}
	return c
}

// Refused is what to journal after an answer that says that nothing happened.
func (c Creation) Refused(s Step) Creation {
	*c.sent(s.Act) = time.Time{}
	return c
}

// Steps lists what a creation will do from its beginning if nothing goes wrong, for a plan.
func Steps(spec *Spec, folderThere bool) []Step {
	var out []Step
	seen := Seen{Folder: folderThere || spec.Folder == "" || spec.Folder == RootFolder}
	for c := (Creation{Mark: "plan"}); ; {
		s := c.Next(spec, seen, time.Time{}, 0)
		if s.Act == ActDone || s.Act == ActStuck || len(out) > 20 {
			return out
		}
		out = append(out, Step{Act: s.Act, Why: s.Why})
		seen = seen.after(s, spec)
		c = c.End(s, "planned")
	}
}

// after is what would be seen once the step is done.
func (s Seen) after(step Step, spec *Spec) Seen {
	switch step.Act {
	case ActFolder:
		s.Folder = true
	case ActItem:
		s.Candidates, s.Marked = []Candidate{{Item: "planned"}}, true
		s.Settings = Settings{Title: spec.Title, Folder: spec.Folder, Tags: spec.Tags, Snippet: spec.Snippet, Description: spec.Description, Sharing: SharePrivate}
	case ActRegister:
		s.HasApp, s.Settings.Privileges, s.Settings.Referrers = true, spec.Grants(), spec.HTTPReferrers()
	case ActTidy:
		s.Marked = false
	case ActProtect:
		s.Settings.Protected = true
	case ActShare:
		s.Settings.Sharing = spec.Sharing
	case ActRecord:
		s.Recorded = true
	case ActFirstKey:
		s.Keyed = true
	default: // the others do not come up where nothing goes wrong
	}
	return s
}
