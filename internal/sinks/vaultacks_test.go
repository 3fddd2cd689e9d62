package sinks

import (
	"net/http"
	"strings"
	"testing"

	"rotatord/internal/rotate"
	"rotatord/internal/testkit"
)

func quietAsked() rotate.Quiet {
	return rotate.Quiet{Name: "web", Live: rotate.KeyFacts{Generation: 7, Fingerprint: "AT1_abcdefgh-00000007"},
		Previous: rotate.KeyFacts{Generation: 6, Fingerprint: "AT2_abcdefgh-00000006"}}
}

// The gate on a real Vault, under the policy that rotatord prints, with consumers that may
// write their own acknowledgement and nothing else.
func TestVaultAcks(t *testing.T) {
	srv := testkit.Vault(t)
	spec := SinkSpec{Name: "v", Mount: "secret", Path: "live/web", Acks: []string{"shop", "app"}}
	srv.Policy("least", Policy([]SinkSpec{spec}))
	opt := rootOptions(t, srv)
	opt.Auth.TokenFile = tokenAt(t, srv.NewToken(map[string]any{"policies": []string{"least"}, "no_default_policy": true}))
	v := mustVault(t, opt)
	wantFindings(t, v.Check(t.Context(), []SinkSpec{spec}))
	g, err := v.AckGate(spec)
	if err != nil {
		t.Fatal(err)
	}
	srv.Policy("consumer-shop", `path "secret/data/live/web-acks/shop" { capabilities = ["create", "update"] }`)
	shop := srv.NewToken(map[string]any{"policies": []string{"consumer-shop"}, "no_default_policy": true})
	write := func(consumer string, fields map[string]any) {
		t.Helper()
		a, err := srv.Try(t.Context(), shop, http.MethodPost, "secret/data/live/web-acks/"+consumer, map[string]any{"data": fields})
		want := http.StatusOK
		if consumer != "shop" {
			want = http.StatusForbidden
		}
		if err != nil || a.Status != want {
			t.Fatalf("shop writes as %s: %d, %v, want %d", consumer, a.Status, err, want)
		}
		if want == http.StatusForbidden {
			srv.Do(http.MethodPost, "secret/data/live/web-acks/"+consumer, map[string]any{"data": fields})
		}
	}
	asks := func(quiet bool, says string) {
		t.Helper()
		got, err := g.Ask(t.Context(), quietAsked())
		if err != nil || got.Quiet != quiet || !strings.Contains(got.Detail, says) || strings.Contains(got.Detail, canary) {
			t.Errorf("answer = %+v, %v, want quiet %v and %q", got, err, quiet, says)
		}
	}
	live := map[string]any{"fingerprint": "AT1_abcdefgh-00000007"}
	asks(false, "shop has acknowledged nothing yet; app has acknowledged nothing yet")
	write("shop", live)
	asks(false, "app has acknowledged nothing yet")
	write("app", map[string]any{"fingerprint": "AT2_abcdefgh-00000006", "generation": 6})
	asks(false, "app runs the previous key (AT2_abcdefgh-00000006)")
	write("app", map[string]any{"fingerprint": "AT1_abcdefgh-00000007", "generation": 7})
	asks(true, "all of shop, app run generation 7")
	for want, fields := range map[string]map[string]any{
		"":                        {"fingerprint": "AT1_abcdefgh-00000007", "generation": "7", "host": "a"},
		"as generation 5":         {"fingerprint": "AT1_abcdefgh-00000007", "generation": 5},
		"runs AT1_abcdefgh":       {"fingerprint": "AT1_abcdefgh-ffffffff", "generation": 7},
		"no field fingerprint":    {"generation": 7},
		"that is no fingerprint":  {"fingerprint": canary},
		"that is no generation":   {"fingerprint": "AT1_abcdefgh-00000007", "generation": true},
		"field generation that i": {"fingerprint": "AT1_abcdefgh-00000007", "generation": 7.5},
	} {
		write("shop", fields)
		asks(want == "", want)
	}
	write("shop", live)
	asks(true, "")
	srv.Do(http.MethodDelete, "secret/data/live/web-acks/shop", nil)
	asks(false, "shop has acknowledged nothing yet")
}

// What cannot be read is unknown, and never quiet.
func TestVaultAcksUnknown(t *testing.T) {
	srv := testkit.Vault(t)
	spec := SinkSpec{Name: "v", Mount: "secret", Path: "live/web", Acks: []string{"shop"}}
	srv.Do(http.MethodPost, "secret/data/live/web-acks/shop", map[string]any{"data": map[string]any{"fingerprint": "AT1_abcdefgh-00000007"}})
	opt := rootOptions(t, srv)
	unknown := func(what string, v *Vault, spec SinkSpec, q rotate.Quiet) {
		t.Helper()
		g, err := v.AckGate(spec)
		if err != nil {
			t.Fatal(err)
		}
		if a, err := g.Ask(t.Context(), q); err == nil || a.Quiet {
			t.Errorf("%s: answer = %+v, %v, want unknown", what, a, err)
		}
	}
	noRead := SinkSpec{Name: "v", Mount: "secret", Path: "live/web"}
	srv.Policy("without", Policy([]SinkSpec{noRead}))
	limited := opt
	limited.Auth.TokenFile = tokenAt(t, srv.NewToken(map[string]any{"policies": []string{"without"}, "no_default_policy": true}))
	v := mustVault(t, limited)
	unknown("forbidden", v, spec, quietAsked())
	wantFindings(t, v.Check(t.Context(), []SinkSpec{spec}), brief{SeverityError, "v", rotate.CauseForbidden, "lacks the right to read the acknowledgement secret/data/live/web-acks/shop"})
	root := mustVault(t, opt)
	missing := spec
	missing.Mount = "none"
	unknown("no mount", root, missing, quietAsked())
	unknown("no live fingerprint", root, spec, rotate.Quiet{})
	srv.Seal()
	unknown("sealed", root, spec, quietAsked())
	srv.Stop()
	unknown("down", root, spec, quietAsked())
}

func TestAckGateRefuses(t *testing.T) {
	v := mustVault(t, VaultOptions{Address: "http://127.0.0.1:1", Auth: VaultAuth{Method: AuthTokenFile, TokenFile: tokenAt(t, "x")}})
	for _, acks := range [][]string{nil, {"a", "a"}, {"a/b"}, {""}, {".."}, {"a*"}} {
		if _, err := v.AckGate(SinkSpec{Mount: "secret", Path: "app", Acks: acks}); err == nil {
			t.Errorf("consumers %q were taken", acks)
		}
	}
}
