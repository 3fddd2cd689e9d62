package slack

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"rotatord/internal/alert"
	"rotatord/internal/alert/slack/slacktest"
	"rotatord/internal/rotate"
)

// sequence of calls, one a line.
func sequence(calls []slacktest.Call) string {
	var b strings.Builder
	for _, c := range calls {
		fmt.Fprintf(&b, "%s", c.Method)
		if c.TS != "" {
			fmt.Fprintf(&b, " %s", c.TS[len(c.TS)-1:])
		}
		if c.Thread != "" {
			fmt.Fprintf(&b, " in the thread of %s", c.Thread[len(c.Thread)-1:])
		}
		if c.Broadcast {
			b.WriteString(" and in the channel")
		}
		if strings.Contains(c.Text, mapsTeam) {
			b.WriteString(" @maps")
		}
		if strings.Contains(c.Text, onCall) {
			b.WriteString(" @oncall")
		}
		b.WriteString(": " + strings.NewReplacer(mapsTeam, "", onCall, "", "\n", " / ").Replace(c.Text))
		b.WriteString("\n")
	}
	return b.String()
}

func tell(t *testing.T, n *Notifier, o alert.Notice) string {
	t.Helper()
	ref, err := n.Tell(t.Context(), o)
	if err != nil {
		t.Fatalf("Tell: %v", err)
	}
	return ref
}

// TestLife is an alert from its opening to its end, with a restart in between.
func TestLife(t *testing.T) {
	s := newServer(t)
	n := notifier(t, byToken(s))
	o := page()
	o.Message.Severity = alert.SeverityWarning
	o.Ref = tell(t, n, o)

	o.Message.Severity, o.Story = alert.SeverityCritical, []alert.StoryLine{line(time.Hour, "", "is critical now")}
	o.Ref = tell(t, n, o)

	o.Loud, o.State, o.By = false, alert.StateAcknowledged, "slack:U0ADA00001 (ada)"
	o.Story = []alert.StoryLine{line(2*time.Hour, o.By, "acknowledged")}
	o.Ref = tell(t, n, o)

	later := byToken(s)
	later.Started = now().Add(3 * time.Hour)
	n = notifier(t, later)
	o.Loud, o.State, o.By = true, alert.StateOpen, ""
	o.Story = []alert.StoryLine{line(6*time.Hour, "", "still so")}
	o.Ref = tell(t, n, o)

	o.State, o.Message.Resolved, o.Message.Severity = alert.StateResolved, true, alert.SeverityInfo
	o.Message.Title, o.Message.At = "store-locator: resolved, a rotation is on its way", now().Add(7*time.Hour)
	o.Story = []alert.StoryLine{line(7*time.Hour, "", "resolved after 7 hours")}
	tell(t, n, o)

	golden(t, "life.golden.txt", sequence(s.Calls()))
	if all := s.Messages(); len(all) != 5 || strings.Contains(slacktest.Read(all[0].Blocks), "[Acknowledge]") {
		t.Errorf("%d messages stand; the first reads:\n%s", len(all), slacktest.Read(all[0].Blocks))
	}
}

// TestQuietWithoutMessage: what is quiet is not the first that people hear.
func TestQuietWithoutMessage(t *testing.T) {
	s := newServer(t)
	n := notifier(t, byToken(s))
	o := page()
	o.Loud = false
	if ref := tell(t, n, o); ref != "" || len(s.Calls()) != 0 {
		t.Errorf("a quiet notice without a message gave %q", ref)
	}
}

// TestRoutine is a day's rotations: one quiet message, and its thread.
func TestRoutine(t *testing.T) {
	s := newServer(t)
	n := notifier(t, byToken(s))
	o := routine()
	o.Ref = tell(t, n, o)
	o.Message.Title, o.Story = "2 credentials rotated on 2026-03-01", []alert.StoryLine{line(3*time.Hour, "", "mobile rotated: expiring, 01JB")}
	tell(t, n, o)
	golden(t, "routine.golden.txt", sequence(s.Calls()))
}

func routine() alert.Notice {
	return alert.Notice{Key: "day/2026-03-01", Kind: alert.NoticeRoutine, State: alert.StateOpen,
		Message: alert.Message{Condition: alert.ConditionDone, Severity: alert.SeverityInfo, Title: "1 credential rotated on 2026-03-01",
			Command: "rotatord history", At: now()},
		Story: []alert.StoryLine{line(time.Hour, "", "store-locator rotated: expiring, 01JA")}}
}

// TestDeleted: a person deleted the message.
func TestDeleted(t *testing.T) {
	for _, tt := range []struct {
		name  string
		loud  bool
		ended bool
		want  string
	}{
		{"open and loud", true, false, "chat.postMessage 2 @maps"},
		{"open and quiet", false, false, "chat.postMessage 2"},
		{"resolved", true, true, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := newServer(t)
			n := notifier(t, byToken(s))
			o := page()
			o.Ref = tell(t, n, o)
			s.Delete(s.Calls()[0].TS)
			o.Story, o.Loud = nil, tt.loud
			if tt.ended {
				o.State, o.Message.Resolved = alert.StateResolved, true
			}
			ref := tell(t, n, o)
			got, _, _ := strings.Cut(sequence(s.Calls()), ":")
			if got != tt.want {
				t.Errorf("calls are %q, want %q", got, tt.want)
			}
			if at, ok := parseRef(ref); tt.want != "" && (!ok || !strings.HasSuffix(at.ts, "2")) {
				t.Errorf("ref is %q, want that of the second message", ref)
			}
		})
	}
}

// TestCannotBeChanged: the workspace forbids to change old messages.
func TestCannotBeChanged(t *testing.T) {
	s := newServer(t)
	n := notifier(t, byToken(s))
	o := page()
	o.Ref = tell(t, n, o)
	s.Calls()
	o.Story, o.Loud = nil, false
	s.Next("chat.update", slacktest.Fault{Code: "edit_window_closed"}, slacktest.Fault{Code: "edit_window_closed"})
	if ref := tell(t, n, o); ref != o.Ref || len(s.Calls()) != 0 {
		t.Errorf("a quiet change gave %q; it must not post anew each time", ref)
	}
	o.Loud = true
	if ref := tell(t, n, o); ref == o.Ref || len(s.Calls()) != 1 {
		t.Errorf("a loud change gave %q, want a new message", ref)
	}
}

// TestOutcomeUnknown: the connection breaks after Slack took the message. It is not
// posted twice, by this process or the next, if the token may look.
func TestOutcomeUnknown(t *testing.T) {
	for _, tt := range []struct {
		name, scopes string
		restart      bool
		want         int
	}{
		{"same process", "chat:write,channels:history", false, 1},
		{"after a restart", "chat:write,channels:history", true, 1},
		{"without the scope", "chat:write", false, 2},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := newServer(t)
			s.Scopes = tt.scopes
			s.Next("chat.postMessage", slacktest.Fault{Code: "lost", Late: true})
			n := notifier(t, byToken(s))
			_, err := n.Tell(t.Context(), page())
			if !unsure(err) {
				t.Fatalf("Tell = %v, want an unknown outcome", err)
			}
			if tt.restart {
				o := byToken(s)
				o.Started = now().Add(time.Hour)
				n = notifier(t, o)
			}
			ref := tell(t, n, page())
			if got := len(s.Messages()); got != tt.want || ref == "" {
				t.Errorf("%d messages stand, want %d; ref %q", got, tt.want, ref)
			}
		})
	}
}

// TestAnotherLifeOfTheKey: the message of an alert that ended is not taken for that of
// the next one.
func TestAnotherLifeOfTheKey(t *testing.T) {
	s := newServer(t)
	n := notifier(t, byToken(s))
	tell(t, n, page())
	o := page()
	o.Message.Since = now().Add(-time.Hour) // before this process: it looks
	tell(t, n, o)
	if got := len(s.Messages()); got != 2 {
		t.Errorf("%d messages stand, want 2", got)
	}
}

// TestHalfTold: the message is posted and the thread refused. What is told again finds
// the message.
func TestHalfTold(t *testing.T) {
	s := newServer(t)
	n := notifier(t, byToken(s))
	s.Next("chat.postMessage", slacktest.Fault{}, slacktest.Fault{Wait: 30})
	o := page()
	o.Story = append(o.Story, line(time.Hour, "", "another"))
	_, err := n.Tell(t.Context(), o)
	if rotate.KindOf(err) != rotate.KindRateLimited || rotate.WaitOf(err) != 30*time.Second {
		t.Fatalf("Tell = %v, want a pause of 30 s", err)
	}
	tell(t, n, o)
	golden(t, "half.golden.txt", sequence(s.Calls()))
}

// TestChannelMoves: the config names another channel.
func TestChannelMoves(t *testing.T) {
	s := newServer(t)
	n := notifier(t, byToken(s))
	o := page()
	o.Ref = "C0OLD00001/1772366300.000001/warning"
	if ref := tell(t, n, o); !strings.HasPrefix(ref, slacktest.Channel+"/") {
		t.Errorf("a loud notice stays in the old channel: %q", ref)
	}
	s.Calls()
	o.Loud = false
	o.State = alert.StateResolved
	if ref := tell(t, n, o); ref != o.Ref || len(s.Calls()) != 0 {
		t.Errorf("the end of what stood in a channel that is gone gave %q", ref)
	}
}

// TestPlainTextInNeed: a message whose blocks are refused arrives without them.
func TestPlainTextInNeed(t *testing.T) {
	for name, options := range map[string]func(*slacktest.Server) Options{"webhook": byHook, "chat.postMessage": byToken} {
		s := newServer(t)
		s.Next(name, slacktest.Fault{Code: "invalid_blocks"})
		tell(t, notifier(t, options(s)), page())
		if calls := s.Calls(); len(calls) != 1 || len(calls[0].Blocks) != 0 || !strings.Contains(calls[0].Text, "rotatord plan store-locator") {
			t.Errorf("%s: got %s", name, sequence(calls))
		}
	}
}

// TestWebhook can only post: what is quiet is dropped, an end is one message.
func TestWebhook(t *testing.T) {
	s := newServer(t)
	n := notifier(t, byHook(s))
	o := page()
	tell(t, n, o)
	o.Loud = false
	tell(t, n, o)
	tell(t, n, routine())
	o.Loud, o.State, o.Message.Resolved, o.Message.Title = true, alert.StateResolved, true, "store-locator: resolved"
	tell(t, n, o)
	golden(t, "webhook.golden.txt", sequence(s.Calls()))
}

func TestMentions(t *testing.T) {
	s := newServer(t)
	n := notifier(t, byToken(s))
	for _, tt := range []struct {
		name   string
		change func(*alert.Notice)
		want   string
	}{
		{"its owner", func(*alert.Notice) {}, mapsTeam},
		{"its owner, of a warning", func(o *alert.Notice) { o.Message.Severity = alert.SeverityWarning }, mapsTeam},
		{"its owner, who wants no such", func(o *alert.Notice) { o.Message.Severity = alert.SeverityInfo }, ""},
		{"another owner", func(o *alert.Notice) { o.Message.Owner = "Team Web" }, onCall},
		{"another owner's warning", func(o *alert.Notice) { o.Message.Owner, o.Message.Severity = "", alert.SeverityWarning }, ""},
		{"acknowledged", func(o *alert.Notice) { o.State = alert.StateAcknowledged }, ""},
		{"snoozed", func(o *alert.Notice) { o.State = alert.StateSnoozed }, ""},
		{"resolved", func(o *alert.Notice) { o.State = alert.StateResolved }, ""},
		{"sample", func(o *alert.Notice) { o.Kind = alert.NoticeSample }, ""},
	} {
		o := page()
		tt.change(&o)
		if got := n.mention(o); got != tt.want {
			t.Errorf("%s: mentions %q, want %q", tt.name, got, tt.want)
		}
	}
}
