package daemon

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"

	"rotatord/internal/rotate"
)

// A key that somebody pastes where something else is wanted is refused before anything
// writes it down, by the client, the socket and the verbs alike.
func TestAPastedKeyIsRefusedUnrepeated(t *testing.T) {
	const key = "AAPTthisIsAKeyThatNobodyMaySee0123456789.AT1_H4JC97kO"
	for name, tt := range map[string]struct {
		cmd   rotate.Command
		names []rotate.Name
		says  string
	}{
		"fingerprint":       {rotate.Command{Kind: rotate.CommandCompromised, Fingerprints: []rotate.Fingerprint{"AT1_H4JC97kO-1a2b3c4d", key}}, []rotate.Name{"somebody"}, "a fingerprint is wanted"},
		"half a key":        {rotate.Command{Kind: rotate.CommandCompromised, Fingerprints: []rotate.Fingerprint{rotate.Fingerprint(key[4:])}}, []rotate.Name{"somebody"}, "a fingerprint is wanted"},
		"name":              {rotate.Command{Kind: rotate.CommandRotate}, []rotate.Name{key}, "the name of a credential is wanted"},
		"reason":            {rotate.Command{Kind: rotate.CommandHold, Text: "they know " + key}, []rotate.Name{"somebody"}, "the reason has a key"},
		"an ordinary order": {rotate.Command{Kind: rotate.CommandHold, Text: "AT1_H4JC97kO is known", Fingerprints: []rotate.Fingerprint{"foreign-1a2b3c4d"}}, []rotate.Name{"somebody"}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			var log bytes.Buffer
			fake := &fakeService{}
			c, _ := serveWith(t, fake, AdminOptions{Log: slog.New(slog.NewJSONHandler(&log, nil))})
			_, err := c.Command(t.Context(), tt.cmd, tt.names...)
			var answer []CommandResult
			remote := c.call(t.Context(), "POST", "/v1/command", nil, commandRequest{Names: tt.names, Command: tt.cmd}, &answer)
			if tt.says == "" {
				if err != nil || remote != nil {
					t.Errorf("refused: %v, %v", err, remote)
				}
				return
			}
			_, direct := (&Verbs{}).Command(t.Context(), tt.cmd, tt.names...)
			for way, err := range map[string]error{"client": err, "socket": remote, "verbs": direct} {
				if err == nil || !strings.Contains(err.Error(), tt.says) || strings.Contains(err.Error(), key[4:20]) {
					t.Errorf("%s: %v", way, err)
				}
			}
			if strings.Contains(log.String(), key[4:20]) || fake.got.Kind != "" {
				t.Errorf("it went on: %v\n%s", fake.got.Kind, log.String())
			}
		})
	}
}
