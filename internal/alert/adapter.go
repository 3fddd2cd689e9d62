package alert

import (
	"context"
	"strings"
)

// Sender delivers one message to where none can be brought up to date.
type Sender interface {
	Send(ctx context.Context, m Message) error
}

// Plain is a Sender as a Notifier: what is quiet is told to nobody, but for a day's
// rotations, each of which is a message.
func Plain(name string, s Sender) Notifier { return &plainNotifier{name, s} }

type plainNotifier struct {
	name string
	send Sender
}

func (p *plainNotifier) Name() string { return p.name }

func (p *plainNotifier) Tell(ctx context.Context, n Notice) (string, error) {
	switch {
	case n.Kind == NoticeRoutine:
		var lines []string
		for _, l := range n.Story {
			lines = append(lines, l.Text)
		}
		n.Message.Breaks = strings.Join(lines, "\n")
	case !n.Loud:
		return n.Ref, nil
	case n.Kind == NoticeDigest:
		for _, s := range n.Message.Sections {
			n.Message.Breaks += "*" + s.Title + "*\n" + strings.Join(s.Lines, "\n") + "\n"
		}
	}
	return n.Ref, p.send.Send(ctx, n.Message)
}

func (p *plainNotifier) Check(context.Context) error { return nil }
