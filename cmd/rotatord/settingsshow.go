package main

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"rotatord/internal/alert"
	"rotatord/internal/credspec"
	"rotatord/internal/daemon"
	"rotatord/internal/metrics"
	"rotatord/internal/rotate"
	"rotatord/internal/settings"
	"rotatord/internal/web"
)

// chosenFindings are those of the named credentials; of all without a name.
func chosenFindings(r *settings.Runner, names []rotate.Name) []settings.Finding {
	return slices.DeleteFunc(r.Findings(), func(f settings.Finding) bool { return len(names) > 0 && !slices.Contains(names, f.Credential) })
}

// settingsAtOnce bounds how many credentials one plan looks at in parallel.
const settingsAtOnce = 4

// lookAtSettings of the named credentials now; of all without a name. One that cannot be read says why.
func lookAtSettings(ctx context.Context, r *settings.Runner, names []rotate.Name) []settings.Finding {
	out := chosenFindings(r, names)
	turns := make(chan struct{}, settingsAtOnce)
	var g sync.WaitGroup
	for i := range out {
		turns <- struct{}{}
		g.Go(func() {
			defer func() { <-turns }()
			f, err := r.Look(ctx, out[i].Credential)
			if err != nil {
				f = out[i]
				f.Error = err.Error()
			}
			out[i] = f
		})
	}
	g.Wait()
	return out
}

// askSettings has a daemon look, or looks itself where none runs.
func (c *cli) askSettings(ctx context.Context, s *session, names []rotate.Name) (out []settings.Finding, err error) {
	if s.app == nil {
		q := url.Values{"fresh": {"1"}}
		for _, n := range names {
			q.Add("name", string(n))
		}
		err = s.client.Ask(ctx, http.MethodGet, "/v1/settings", q, nil, &out)
		return out, err
	}
	r, err := s.app.idleSettings()
	if err == nil {
		err = r.Load(ctx)
	}
	if err != nil {
		return nil, err
	}
	return lookAtSettings(ctx, r, names), nil
}

// settingsStatus is a finding as the status has it.
func settingsStatus(f *settings.Finding) *daemon.SettingsStatus {
	return &daemon.SettingsStatus{Differ: len(f.Changes), KillKeys: len(f.Changes.Killing()), Contested: len(f.Contested), Adopted: len(f.Adopted), CheckedAt: f.CheckedAt, Says: settingsSentence(f)}
}

// settingsSentence is a finding in one line.
func settingsSentence(f *settings.Finding) string {
	var parts []string
	add := func(format string, args ...any) { parts = append(parts, fmt.Sprintf(format, args...)) }
	switch {
	case f.CheckedAt.IsZero():
		add("not compared with the portal yet")
	case len(f.Changes) == 0 && len(f.Adopted) == 0:
		add("as the config says")
	}
	if cs := f.Changes.Harmless(); len(cs) > 0 {
		add("%s %s from the config", fieldNames(cs), differ(cs))
	}
	if cs := f.Changes.Killing(); len(cs) > 0 {
		add("%s %s from the config, and to change that kills both keys", fieldNames(cs), differ(cs))
	}
	if len(f.Contested) > 0 {
		add("rotatord corrects %s no more, since somebody changes it back", joined(f.Contested))
	}
	if f.Waits != "" {
		add("nothing is corrected now: %s", f.Waits)
	}
	if len(f.Adopted) > 0 {
		add("%s taken as meant from the portal", fieldNames(f.Adopted))
	}
	if f.Unrestricted || f.UnrestrictedThere {
		add("unrestricted_key: a public key without referrers")
	}
	if f.Error != "" {
		add("the last look or edit failed: %s", f.Error)
	}
	return strings.Join(parts, "; ")
}

func differ(cs credspec.Changes) string {
	if len(cs) == 1 {
		return "differs"
	}
	return "differ"
}

func fieldNames(cs credspec.Changes) string {
	out := make([]credspec.Field, len(cs))
	for i, c := range cs {
		out[i] = c.Field
	}
	return joined(out)
}

func joined(list []credspec.Field) string {
	var b strings.Builder
	for i, f := range list {
		if i > 0 {
			b.WriteString(", ")
		}
		b.WriteString(string(f))
	}
	return b.String()
}

// settingsPlan is a finding as plan shows it.
func settingsPlan(b *strings.Builder, f *settings.Finding, now time.Time) {
	name := string(f.Credential)
	if f.Error != "" {
		fmt.Fprintf(b, "  settings: not compared: %s", f.Error)
		if !f.CheckedAt.IsZero() {
			fmt.Fprintf(b, "; what follows was seen %s", stamp(f.CheckedAt, now))
		}
		b.WriteByte('\n')
	}
	if len(f.Changes) > 0 {
		fmt.Fprintf(b, "  settings differ from the config (- portal, + config):\n%s", indented(indented(f.Changes.Text())))
		for _, line := range settingsCures(f, name) {
			fmt.Fprintf(b, "    %s\n", line)
		}
	}
	if len(f.Adopted) > 0 {
		fmt.Fprintf(b, "  settings taken as meant from the portal (- portal, + config):\n%s", indented(indented(f.Adopted.Text())))
		fmt.Fprintf(b, "    To bring the config up to date: rotatord import %s --again --write FILE\n", name)
	}
	if len(f.Changes) == 0 && len(f.Adopted) == 0 && f.Error == "" {
		b.WriteString("  settings: as the config says\n")
	}
	if why := unrestrictedWords(f); why != "" {
		fmt.Fprintf(b, "  warning: unrestricted_key: %s\n", why)
	}
}

// settingsCures say what becomes of what differs, and what a person can do.
func settingsCures(f *settings.Finding, name string) []string {
	var out []string
	if len(f.Changes.Harmless()) > len(f.Contested) {
		switch {
		case f.Policy == credspec.DriftCorrect && f.Waits != "":
			out = append(out, "What is harmless is not corrected now: "+f.Waits)
		case f.Policy == credspec.DriftCorrect:
			out = append(out, "The daemon edits what is harmless at its next look; rotatord apply "+name+" does it now")
		default:
			out = append(out, "rotatord apply "+name+" edits what is harmless")
		}
	}
	if len(f.Contested) > 0 {
		out = append(out, "rotatord corrects "+joined(f.Contested)+" no more: somebody changes it back; agree with them, then rotatord apply "+name)
	}
	switch {
	case !f.Changes.NeedReplacement():
	case f.Policy == credspec.DriftCorrect && f.Waits == "":
		out = append(out, "What kills both keys needs a replacement, which the daemon begins; rotatord apply "+name+" --replace does it now")
	default:
		out = append(out, "What kills both keys needs a replacement: rotatord apply "+name+" --replace")
	}
	return out
}

// unrestrictedWords say where a public key is without referrers; "" if it is not.
func unrestrictedWords(f *settings.Finding) string {
	const cure = "; name referrers, or write referrers: any if that is meant"
	switch {
	case f.Unrestricted && f.UnrestrictedThere:
		return "public and without referrers, in the config and at the portal: it works from everywhere, at your cost" + cure
	case f.UnrestrictedThere:
		return "the portal has no referrers for this public key: it works from everywhere, at your cost" + cure
	case f.Unrestricted:
		return "the config says nothing of this public key's referrers, which the portal has now" + cure
	}
	return ""
}

// settings of a credential as they were compared last; nil where the config states none.
func (s statusPage) settings(name rotate.Name) *web.Settings {
	r := s.process.settings.Load()
	if r == nil {
		return nil
	}
	f, ok := r.Finding(name)
	if !ok {
		return nil
	}
	return &web.Settings{Says: settingsSentence(&f), CheckedAt: f.CheckedAt, Differ: len(f.Changes) > 0, Diff: f.Changes.Text(), Adopted: f.Adopted.Text()}
}

// settingsViews for a scrape, of the config in force.
func (p *process) settingsViews(yield func(*metrics.SettingsView)) {
	r := p.settings.Load()
	if r == nil {
		return
	}
	r.Each(func(f *settings.Finding) {
		killing := len(f.Changes.Killing())
		yield(&metrics.SettingsView{Credential: f.Credential, Portal: f.Portal, CheckedAt: f.CheckedAt, Harmless: len(f.Changes) - killing, KillKeys: killing,
			Adopted: len(f.Adopted), Contested: len(f.Contested), Unrestricted: f.Unrestricted, UnrestrictedThere: f.UnrestrictedThere})
	})
}

// alertSettings of a credential; nil where the config states none.
func alertSettings(v *daemon.View) *alert.Settings {
	if v.Settings == nil {
		return nil
	}
	st := v.Settings()
	if st == nil {
		return nil
	}
	return &alert.Settings{Known: !st.CheckedAt.IsZero(), Differ: st.Differ, KillKeys: st.KillKeys, Contested: st.Contested, Says: st.Says}
}
