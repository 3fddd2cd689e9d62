package slack

import (
	"encoding/json"
	"strconv"
	"testing"

	slackgo "github.com/slack-go/slack"

	"rotatord/internal/alert"
	"rotatord/internal/alert/notifytest"
	"rotatord/internal/alert/slack/slacktest"
)

// shot is a notice as it looks in Slack.
func shot(t *testing.T, n *Notifier, name string, o alert.Notice) notifytest.Shot {
	t.Helper()
	m := n.render(o, n.mention(o))
	return notifytest.Shot{Name: name, HTML: slacktest.HTML(m.text, parsed(t, m.blocks))}
}

func parsed(t *testing.T, blocks []slackgo.Block) (out []slacktest.Block) {
	t.Helper()
	raw, err := json.Marshal(slackgo.Blocks{BlockSet: blocks})
	if err == nil {
		err = json.Unmarshal(raw, &out)
	}
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// TestPictures: every message that there is, as the engine composes it, in pictures for
// people to read: those of each condition, and those of an alert's life.
func TestPictures(t *testing.T) {
	n := notifier(t, byToken(newServer(t)))
	told := notifytest.Told(t)
	const sheets = 4
	for i := range sheets {
		var shots []notifytest.Shot
		for j, o := range told {
			if j*sheets/len(told) == i {
				shots = append(shots, shot(t, n, string(o.Message.Condition), o))
			}
		}
		notifytest.Picture(t, *updateGolden, "slack-"+strconv.Itoa(i+1), notifytest.Sheet(slacktest.Style, shots...))
	}
	all := notices()
	var shots []notifytest.Shot
	for _, name := range []string{"critical", "acknowledged", "snoozed", "resolved", "routine", "digest", "sample"} {
		shots = append(shots, shot(t, n, name, all[name]))
	}
	opened, over := notifytest.ToldOfMany(t)
	shots = append(shots, shot(t, n, "of seven at once", opened), shot(t, n, "its end", over))
	view, err := compromisedView(where{Target: targetOf(page()), Channel: slacktest.Channel, Message: "1.1"})
	if err != nil {
		t.Fatal(err)
	}
	shots = append(shots, notifytest.Shot{Name: "A key is compromised…", HTML: slacktest.HTML("", parsed(t, view.Blocks.BlockSet))})
	notifytest.Picture(t, *updateGolden, "slack-life", notifytest.Sheet(slacktest.Style, shots...))
}
