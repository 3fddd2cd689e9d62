package config

import (
	"slices"
	"strings"
	"testing"
)

func TestBudgetIsInherited(t *testing.T) {
	base := string(read(t, "testdata/minimal.yaml"))
	src := strings.Replace(base, "credentials:", "  usage: never\n  budget: {per_month: 1000, warn_at: [90%, 95%], cut_off: true}\ncredentials:", 1) +
		"    budget: {per_day: 5, cut_off: false}\n    usage: auto\n  - name: beta\n    item: 0123456789abcdef0123456789abcde0\n"
	c, err := Parse("c.yaml", []byte(src))
	if err != nil {
		t.Fatal(err)
	}
	alpha, beta := c.Credentials[0], c.Credentials[1]
	if *alpha.Budget.PerDay != 5 || *alpha.Budget.PerMonth != 1000 || *alpha.Budget.CutOff || !slices.Equal(alpha.Budget.Levels(), []float64{0.9, 0.95}) || alpha.Usage != "auto" {
		t.Errorf("alpha has %+v", alpha.Budget)
	}
	if beta.Budget.PerDay != nil || *beta.Budget.PerMonth != 1000 || !*beta.Budget.CutOff || beta.Usage != "never" {
		t.Errorf("beta has %+v", beta.Budget)
	}
	if b := minimal(t).Credentials[0]; b.Budget.PerDay != nil || b.Budget.CutOff != nil || !slices.Equal(b.Budget.Levels(), []float64{0.5, 0.8, 1}) || b.Usage != "auto" {
		t.Errorf("without a word about it: %+v, usage %s", b.Budget, b.Usage)
	}
}
