package alert

// Settings is how what a credential's portal has compares with what the config says.
type Settings struct {
	// Known tells that it was compared: what was told before that stays as it is until then.
	Known     bool
	Differ    int    // settings, but for those that are taken as meant
	KillKeys  int    // of them, whose change kills both keys
	Contested int    // of them, that rotatord corrects no more: somebody changes them back
	Says      string // all of it in a sentence
}

// findings of a credential's settings: what can be edited in place is for some day, what a
// person has to decide for today.
func (s *Settings) findings() []finding {
	switch {
	case s == nil || !s.Known || s.Differ == 0:
		return nil
	case s.KillKeys > 0 || s.Contested > 0:
		return []finding{{condition: ConditionSettings, severity: SeverityWarning, step: 2, once: true}}
	}
	return []finding{{condition: ConditionSettings, severity: SeverityInfo, step: 1, once: true}}
}

// compared fills the message of an alert on settings.
func (h *holding) compared(m *Message) {
	s := h.view.Settings
	m.Links = append(m.Links, h.view.Links...)
	m.Title = h.subject + ": its settings at the portal are not those of the config"
	m.Breaks = "Nothing by itself; the key may be allowed more or less than was meant."
	if s.KillKeys == 0 {
		m.Breaks = "Nothing: what differs is the item's page."
	}
	m.Command = "rotatord plan " + quote(h.subject)
	m.Sections = append(m.Sections, Section{"Settings", []string{s.Says}})
}
