package config

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// ackSection lets a consumer acknowledge over HTTP.
const ackSection = "acks: {listen: '127.0.0.1:9806', cert_file: /c, key_file: /k, consumers: {shop: {token: 'file:/t'}}}"

func TestDiff(t *testing.T) {
	const item2 = "\n  - name: beta\n    item: fedcba9876543210fedcba9876543210"
	const item = "    item: 0123456789abcdef0123456789abcdef"
	for name, row := range map[string]struct {
		was, is []string // replacements in the minimal config
		want    Changes
	}{
		"nothing":              {},
		"comment":              {is: []string{"defaults:\n", "# hello\ndefaults:\n"}},
		"default_written":      {is: []string{"defaults:\n", "workers: 8\ndefaults:\n"}},
		"added":                {is: []string{item, item + item2}, want: Changes{Added: []string{"beta"}, Sections: []string{"credentials"}}},
		"removed":              {was: []string{item, item + item2}, want: Changes{Removed: []string{"beta"}, Sections: []string{"credentials"}}},
		"renamed":              {is: []string{"name: alpha", "name: beta"}, want: Changes{Added: []string{"beta"}, Removed: []string{"alpha"}, Sections: []string{"credentials"}}},
		"own_key":              {is: []string{item, item + "\n    hold: x"}, want: Changes{Changed: []string{"alpha"}, Sections: []string{"credentials"}}},
		"inherited":            {is: []string{"overlap: 7d", "overlap: 8d"}, want: Changes{Changed: []string{"alpha"}, Sections: []string{"defaults", "credentials"}}},
		"portal":               {is: []string{"username: bot", "username: bob"}, want: Changes{Changed: []string{"alpha"}, Sections: []string{"portals"}}},
		"secret_ref":           {is: []string{"secrets/main", "secrets/other"}, want: Changes{Changed: []string{"alpha"}, Sections: []string{"portals"}}},
		"sink_path":            {is: []string{"keys/{{.Name}}", "k/{{.Name}}"}, want: Changes{Changed: []string{"alpha"}, Sections: []string{"sinks", "credentials"}}},
		"vault":                {is: []string{"vault.example:8200", "vault.example:8201"}, want: Changes{Changed: []string{"alpha"}, Sections: []string{"vault"}}},
		"same_by_another_word": {is: []string{"overlap: 7d", "overlap: 1w"}},
		"window":               {is: []string{item, item + "\n    windows: [{cron: 0 22 * * *, length: 4h}]"}, want: Changes{Changed: []string{"alpha"}, Sections: []string{"credentials"}}},
		"inherited_freeze": {is: []string{"  mode: rotate", "  mode: rotate\n  freezes: [{from: 2026-12-20, to: 2026-12-21}]"},
			want: Changes{Changed: []string{"alpha"}, Sections: []string{"defaults", "credentials"}}},
		"freeze_file": {was: []string{item, item + "\n    freeze_file: /a.ics"}, is: []string{item, item + "\n    freeze_file: /b.ics"}, want: Changes{Changed: []string{"alpha"}, Sections: []string{"credentials"}}},
		"zone_of_windows": {was: []string{item, item + "\n    windows: [{cron: 0 22 * * *, length: 4h}]"},
			is: []string{item, item + "\n    windows: [{cron: 0 22 * * *, length: 4h}]\nschedules: {time_zone: Europe/Berlin}"}, want: Changes{Changed: []string{"alpha"}, Sections: []string{"credentials", "schedules"}}},
		"restart": {is: []string{"defaults:\n", "workers: 2\nstate: {dir: /srv/r}\nhttp: {listen: '127.0.0.1:1'}\nadmin: {socket: /run/x.sock}\ndefaults:\n"},
			want: Changes{Sections: []string{"portals", "http", "state", "admin", "workers"}, Changed: []string{"alpha"}, Restart: []string{"state.dir", "http.listen", "admin.socket"}}},
		"gate":           {is: []string{item, item + "\n    quiet: {acks: [shop]}"}, want: Changes{Changed: []string{"alpha"}, Sections: []string{"credentials"}}},
		"inherited_hook": {is: []string{"  mode: rotate", "  mode: rotate\n  hooks: [{on: [before_minting], command: [/bin/true]}]"}, want: Changes{Changed: []string{"alpha"}, Sections: []string{"defaults", "credentials"}}},
		"acks": {is: []string{item, item + "\n    quiet: {acks: [shop]}\n" + ackSection},
			want: Changes{Changed: []string{"alpha"}, Sections: []string{"credentials", "acks"}, Restart: []string{"acks.listen", "acks.cert_file", "acks.key_file"}}},
		"ack_token": {was: []string{item, item + "\n    quiet: {acks: [shop]}\n" + ackSection}, is: []string{item, item + "\n    quiet: {acks: [shop]}\n" + strings.Replace(ackSection, "file:/t", "file:/u", 1)},
			want: Changes{Sections: []string{"acks"}}},
		"reloadable": {is: []string{"defaults:\n", "log: {level: debug}\nadmin: {users: [alice]}\ndefaults:\n"}, want: Changes{Sections: []string{"admin", "log"}}},
	} {
		t.Run(name, func(t *testing.T) {
			got := Diff(minimal(t, row.was...), minimal(t, row.is...))
			if diff := cmp.Diff(row.want, got); diff != "" {
				t.Errorf("changes (-want +got):\n%s", diff)
			}
			if got.Empty() != (len(row.want.Sections) == 0) {
				t.Errorf("empty is %v for %+v", got.Empty(), got)
			}
		})
	}
}
