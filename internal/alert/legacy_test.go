package alert

import (
	"bytes"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// TestTheStateOfAnOlderRotatord: as it lay in the store until alerts had a state. What was
// said is not said again, what ended meanwhile is said to be over, what was not said yet
// is, and the log says what came of it.
func TestTheStateOfAnOlderRotatord(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		now := time.Now().UTC()
		stamp := func(d time.Duration) string { return now.Add(d).Format(time.RFC3339) }
		incident := func(name, condition, more string) []byte {
			return fmt.Appendf(nil, `{"credential":%q,"condition":%q,"owner":"Team Maps","environment":"prod","portal":"esri","since":%q%s}`, name, condition, stamp(-2*time.Hour), more)
		}
		said := fmt.Sprintf(`,"said_at":%q,"said_step":1`, stamp(-2*time.Hour))
		done := func(name string, said bool) []byte {
			return fmt.Appendf(nil, `{"credential":%q,"generation":3,"rotation_id":"R-%s","reason":"max_age","at":%q,"said":%t}`, name, name, stamp(-time.Hour), said)
		}
		store := &memory{values: map[string][]byte{
			"started": fmt.Appendf(nil, "%q", stamp(-48*time.Hour)), "pause": fmt.Appendf(nil, "%q", stamp(time.Minute)),
			"incident/dead/still": incident("still", "dead", said), "incident/dead/mended": incident("mended", "dead", said),
			"incident/dead/over": incident("over", "dead", said+fmt.Sprintf(`,"resolved_at":%q`, stamp(-time.Hour))),
			"incident/dead/new":  incident("new", "dead", ""),
			"done/told":          done("told", true), "done/untold": done("untold", false),
			"future/thing": []byte(`{"x":1}`),
		}}
		var log bytes.Buffer
		r := &rig{t: t, store: store, channel: &channel{name: "slack"}, counts: map[Delivery]int{},
			change: func(o *Options) { o.Log = slog.New(slog.NewTextHandler(&log, nil)) }}
		r.start()
		defer func() { r.stop() }()
		still, fresh := dead("still"), dead("new")
		scene := []View{still, fresh, healthy("mended"), healthy("over"), healthy("told"), healthy("untold")}
		r.check(scene...)
		r.want() // Slack asked for a pause of a minute, and that binds us
		r.settle(2 * time.Minute)
		got := r.channel.take()
		slices.Sort(got)
		if want := []string{"2 credentials rotated on 1999-12-31", "mended: resolved, no longer dead", "new: the served key is dead", "over: resolved, no longer dead"}; !slices.Equal(got, want) {
			t.Errorf("said %q, want %q", got, want)
		}
		for _, n := range r.channel.notices {
			if n.Kind == NoticeRoutine && (len(n.Story) != 1 || !strings.HasPrefix(n.Story[0].Text, "untold: ")) {
				t.Errorf("the day's lines are %+v, want that of untold", n.Story)
			}
		}
		for key := range store.values {
			if strings.HasPrefix(key, "incident/") || strings.HasPrefix(key, "done/") || key == "pause" {
				t.Errorf("%s is still there", key)
			}
		}
		if _, there := store.values["future/thing"]; !there {
			t.Error("what a newer rotatord stored is gone")
		}
		for _, want := range []string{"alerts of an older rotatord were taken over", "entries=7", "this one cannot read", "first=future/thing"} {
			if !strings.Contains(log.String(), want) {
				t.Errorf("the log does not say %q: %s", want, log.String())
			}
		}
		r.restart()
		r.check(scene...)
		r.settle(2 * time.Minute)
		r.want()
	})
}
