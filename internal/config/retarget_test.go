package config

import (
	"errors"
	"strings"
	"testing"
)

func TestRetarget(t *testing.T) {
	const other = "beefbeefbeefbeefbeefbeefbeefbeef"
	minimalText := string(read(t, "testdata/minimal.yaml"))
	item := minimal(t).Credentials[0]
	for name, quote := range map[string]string{"plain": "", "double": `"`, "single": "'"} {
		t.Run(name, func(t *testing.T) {
			src := strings.Replace(minimalText, "item: "+string(item.Item), "item: "+quote+string(item.Item)+quote+" # of the web map", 1)
			out, err := Retarget("c.yaml", []byte(src), item.Name, item.Portal, other)
			if err != nil {
				t.Fatal(err)
			}
			if want := strings.Replace(src, string(item.Item), other, 1); string(out) != want {
				t.Errorf("got:\n%s", out)
			}
			if again, err := Retarget("c.yaml", out, item.Name, item.Portal, other); again != nil || err != nil {
				t.Errorf("what it says already: %q, %v", again, err)
			}
		})
	}
	if _, err := Retarget("c.yaml", []byte(minimalText), "nobody", item.Portal, other); err == nil {
		t.Error("an unknown credential is retargeted")
	}
	folded := strings.Replace(minimalText, "item: "+string(item.Item), "item: >-\n      "+string(item.Item), 1)
	if _, err := Retarget("c.yaml", []byte(folded), item.Name, item.Portal, other); !errors.Is(err, ErrCannotAmend) {
		t.Errorf("a folded value: %v", err)
	}
}
